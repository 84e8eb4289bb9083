"""The local AWS ends in the middle of what runs in containers, and starts again."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.contract.aws import test_interruptions
from tests.contract.aws.client import LocalAws

# One restart interrupts all kinds at once.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def started(
    how: str, user_image: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LocalAws]:
    local = LocalAws(tmp_path_factory.mktemp(f"docker-{how}"))
    local.image = user_image
    with local.running(program=None):
        yield local


how = test_interruptions.how
interrupted = test_interruptions.interrupted
test_work_in_containers_goes_on_or_has_an_end = (
    test_interruptions.test_after_a_restart_work_goes_on_or_has_an_end
)
test_containers_that_die_are_replaced = test_interruptions.test_containers_that_die_are_replaced
test_a_deleted_endpoint_of_containers_leaves_no_request_without_an_end = (
    test_interruptions.test_a_deleted_endpoint_leaves_no_request_without_an_end
)
