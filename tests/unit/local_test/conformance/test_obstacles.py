"""Checks that a violation makes pointless are not run, and say which violation it was."""

from __future__ import annotations

import pytest

from local_test.conformance import obstacles
from local_test.conformance.catalog import CHECKS, Outcome, Verdict, skip
from local_test.conformance.sessions import job_end_checks, job_input_checks, plain_job_checks


def give(identity: str, outcome: Outcome) -> Verdict:
    return Verdict(CHECKS[identity], outcome, "why")


def collect(*verdicts: Verdict) -> dict[str, Verdict]:
    return {verdict.check.id: verdict for verdict in verdicts}


@pytest.mark.parametrize("cause", ["IMG-1a", "OUT-1a", "TF-1a", "TF-4a", "HP-1a"])
def test_no_other_job_is_run_after_one_that_cannot_succeed(cause: str) -> None:
    known = collect(give(cause, "fail"))
    assert cause in obstacles.of_training(job_input_checks.HOSTS_IDS, known)
    assert not obstacles.of_training(plain_job_checks.PLAIN_IDS, known)
    reason = obstacles.of_training(job_end_checks.FAILURE_IDS, known)
    assert bool(reason) == (cause == "IMG-1a")  # how it fails can be seen if it was started
    assert not obstacles.of_training(job_input_checks.HOSTS_IDS, collect(give(cause, "pass")))


@pytest.mark.parametrize("cause", ["IMG-1b", "HO-1a", "HO-5a"])
def test_no_other_server_is_started_after_one_that_was_never_healthy(cause: str) -> None:
    assert cause in obstacles.of_serving(collect(give(cause, "fail")))
    assert not obstacles.of_serving(collect(give(cause, "pass")))


def test_a_missing_route_is_named_as_the_cause() -> None:
    known = collect(skip("HO-5a", "no /ping"), give("HO-4a", "fail"))
    assert "(HO-4a)" in obstacles.of_serving(known)
    once = collect(give("HO-5a", "pass"), give("HO-4a", "fail"))
    assert not obstacles.of_serving(once)


@pytest.mark.parametrize(
    ("identity", "outcome"),
    [
        ("IMG-1b", "not applicable"),
        ("HO-5a", "not applicable"),
        ("OUT-7a", "not applicable"),
        ("HO-1a", "fail"),
    ],
)
def test_a_server_is_not_blamed_for_a_model_that_was_not_trained(
    identity: str, outcome: Outcome
) -> None:
    failed = give(identity, "fail")
    excused = obstacles.excuse(failed, collect(give("OUT-3a", "fail")), has_model=False)
    assert excused.outcome == outcome
    assert obstacles.excuse(failed, {}, has_model=False) == failed
