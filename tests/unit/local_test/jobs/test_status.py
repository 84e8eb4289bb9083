"""The one machine of statuses that harness and API share."""

from __future__ import annotations

import pytest

from local_test.jobs import status


def test_a_history_keeps_when_each_status_was_entered_and_left() -> None:
    history = status.enter([], "Starting", 1.0)
    history = status.enter(history, "Downloading", 2.0)
    history = status.enter(history, "Failed", 3.0, "no data")

    assert [(item["Status"], item["StartTime"], item["EndTime"]) for item in history] == [
        ("Starting", 1.0, 2.0),
        ("Downloading", 2.0, 3.0),
        ("Failed", 3.0, 3.0),
    ]
    assert history[-1]["StatusMessage"] == "no data"
    assert history[0]["StatusMessage"] == "Preparing the instances for training"


@pytest.mark.parametrize(
    ("current", "following"),
    [("Completed", "Training"), ("Stopping", "Training"), ("Starting", "Uploading")],
)
def test_what_may_not_follow_is_refused(current: str, following: str) -> None:
    entered = status.enter([], current, 0.0)

    assert not status.may_follow(current, following)
    with pytest.raises(ValueError, match=f"from {current} to {following}"):
        status.enter(entered, following, 1.0)


@pytest.mark.parametrize("current", ["Starting", "Training", "Interrupted", "Uploading"])
@pytest.mark.parametrize("following", ["Stopping", "Restarting", "Failed"])
def test_an_unfinished_job_may_always_be_stopped_restarted_or_fail(
    current: str, following: str
) -> None:
    assert status.may_follow(current, following)


@pytest.mark.parametrize(
    ("stop_reason", "has_failed", "judged"),
    [
        ("", False, ("Completed", "Completed")),
        ("", True, ("Failed", "Failed")),
        ("Stopped", False, ("Stopped", "Stopped")),
        ("MaxRuntimeExceeded", False, ("Stopped", "MaxRuntimeExceeded")),
        (status.INTERNAL_ERROR, False, ("Failed", "Failed")),
    ],
)
def test_the_end_is_judged(stop_reason: str, has_failed: bool, judged: tuple[str, str]) -> None:
    assert status.judge(stop_reason, has_failed=has_failed) == judged
