"""Which checks a command asks for, and the order of the sessions."""

import pytest

from container.errors import UserError
from local_test.conformance import run as conformance
from local_test.conformance.catalog import CHECKS


def test_a_check_that_does_not_exist_is_named() -> None:
    with pytest.raises(UserError, match="XX-1"):
        conformance.choose(train=False, serve=False, only=["XX-1"], is_url=False)
    with pytest.raises(UserError, match="OUT-1a"):
        conformance.choose(train=False, serve=False, only=["OUT-1a"], is_url=True)


def test_every_check_belongs_to_one_session() -> None:
    ids = [
        identity
        for module in conformance.MODULES.values()
        for session_ids, _ in module.SESSIONS
        for identity in session_ids
    ]

    assert sorted(ids) == sorted(CHECKS)
    assert len(CHECKS) >= 60
    assert {check.severity for check in CHECKS.values()} == {"MUST", "SHOULD"}


def test_flags_choose_groups_of_checks() -> None:
    everything = conformance.choose(train=False, serve=False, only=(), is_url=False)
    training = conformance.choose(train=True, serve=False, only=(), is_url=False)
    serving = conformance.choose(train=False, serve=True, only=(), is_url=False)
    with_model = conformance.choose(train=False, serve=True, only=(), is_url=False, has_model=True)

    assert everything == list(CHECKS)
    assert set(training) == conformance.TRAINING_IDS | conformance.IMAGE_IDS
    assert set(serving) - set(with_model) == {"OUT-1a"}
    assert set(with_model) == conformance.SERVING_IDS | conformance.IMAGE_IDS


@pytest.mark.parametrize("url", ["https://a:1", "http://", "http://a:1/path", "a:1"])
def test_a_url_has_a_host_and_no_path(url: str) -> None:
    with pytest.raises(UserError, match="http://HOST:PORT"):
        conformance.parse_url(url)
    assert conformance.parse_url("http://a") == ("a", 80)
