"""What a replica knows of its stateful sessions."""

from __future__ import annotations

import datetime as dt

import pytest

from local_test.endpoints.variants.sessions import Sessions

OPENED, CLOSED = "x-amzn-sagemaker-new-session-id", "x-amzn-sagemaker-closed-session-id"


def opens(session: str, seconds: float) -> dict[str, str]:
    end = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=seconds)
    return {OPENED: f"{session}; Expires={end:%Y-%m-%dT%H:%M:%SZ}"}


def test_a_session_lasts_until_it_is_closed_or_expires() -> None:
    sessions = Sessions()
    sessions.note(opens("kept", 600))
    sessions.note(opens("old", -600))
    sessions.note({"content-type": "text/csv"})
    assert "kept" in sessions
    assert "old" not in sessions
    sessions.note({CLOSED: "kept"})
    assert "kept" not in sessions


@pytest.mark.parametrize("details", ["", "; Expires=soon"])
def test_a_session_without_an_end_does_not_end_by_itself(details: str) -> None:
    sessions = Sessions()
    sessions.note({OPENED: f"s{details}"})
    assert "s" in sessions
