"""How the account of the user's credentials is found."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError

from container.errors import PlatformError, UserError
from local_test.remote import access


class _Session:
    """A session of boto3 whose service cannot be reached."""

    def __init__(self, region_name: str, **_: object) -> None:
        self.region_name = region_name
        self.attempts = 0

    def get_available_partitions(self) -> list[str]:
        return ["aws"]

    def get_available_regions(self, _service: str, _partition: str) -> list[str]:
        return ["eu-west-1"]

    def client(self, _service: str, config: Any, **_: object) -> _Session:
        self.attempts = config.retries["total_max_attempts"]
        return self

    def get_caller_identity(self) -> None:
        raise EndpointConnectionError(endpoint_url="https://sts")


@pytest.mark.parametrize(("region", "attempts"), [("eu-wst-1", 1), ("eu-west-1", 8)])
def test_a_region_that_nobody_knows_is_tried_once(region: str, attempts: int) -> None:
    session = _Session(region)
    with pytest.raises(PlatformError if attempts > 1 else UserError) as caught:
        access.find_account(None, region, lambda **_: session)
    assert session.attempts == attempts
    assert ("did you mean eu-west-1?" in str(caught.value)) is (attempts == 1)
