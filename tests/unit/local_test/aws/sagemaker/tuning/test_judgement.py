"""When a tuning job ends, and how; no process, no network."""

from __future__ import annotations

import time
from typing import Any

import pytest

from local_test.aws.sagemaker.tuning.definitions import Definition
from local_test.aws.sagemaker.tuning.judgement import Verdict, judge

DEFINITION = Definition({}, [], "accuracy", 1)


def make_job(value: float | None, status: str = "Completed", reason: str = "") -> Any:
    metrics = [] if value is None else [{"MetricName": "accuracy", "Value": value}]
    job = {"TrainingJobStatus": status, "_definition": 0, "FinalMetricDataList": metrics}
    return {**job, "FailureReason": reason} if reason else job


def make_record(status: str = "InProgress", age_s: float = 0, **config: Any) -> Any:
    limits = {"MaxNumberOfTrainingJobs": 10, "MaxParallelTrainingJobs": 1}
    return {
        "HyperParameterTuningJobStatus": status,
        "HyperParameterTuningJobConfig": {"ResourceLimits": limits, **config},
        "CreationTime": time.time() - age_s,
    }


def decide(
    record: Any, *jobs: Any, is_exhausted: bool = False, definition: Definition = DEFINITION
) -> Verdict | None:
    return judge(record, [definition], jobs, is_exhausted=is_exhausted)


def test_it_goes_on_until_all_jobs_have_ended() -> None:
    assert decide(make_record(), make_job(0.5)) is None
    jobs = [make_job(0.5)] * 9
    assert decide(make_record(), *jobs, make_job(None, "InProgress")) is None
    assert decide(make_record(), *jobs, make_job(0.5)) == Verdict("Completed")
    assert decide(make_record(), make_job(0.5), is_exhausted=True) == Verdict("Completed")


def test_a_stop_is_obeyed_at_once() -> None:
    verdict = decide(make_record("Stopping"), make_job(None, "InProgress"))
    assert verdict == Verdict("Stopped")


def test_five_jobs_without_an_objective_are_enough() -> None:
    jobs = [make_job(None)] * 5
    assert decide(make_record(), *jobs[:4]) is None
    verdict = decide(make_record(), *jobs)
    assert verdict is not None
    assert verdict.status == "Failed"
    assert "No objective metrics found after running 5 training jobs" in verdict.failure
    assert "accuracy" in verdict.failure


def test_a_failure_gives_the_first_reason() -> None:
    jobs = [make_job(None, "Stopped"), make_job(None, "Failed", "AlgorithmError: no data")]
    verdict = decide(make_record(), *jobs, is_exhausted=True)
    assert verdict == Verdict("Failed", "All training jobs failed. AlgorithmError: no data")
    verdict = decide(make_record(), make_job(None), is_exhausted=True)
    assert verdict == Verdict("Failed", "All training jobs failed. None printed accuracy.")


def test_time_is_limited() -> None:
    limits = {"MaxParallelTrainingJobs": 1, "MaxRuntimeInSeconds": 60}
    running = make_job(None, "InProgress")
    assert decide(make_record(age_s=59, ResourceLimits=limits), running) is None
    verdict = decide(make_record(age_s=61, ResourceLimits=limits), running)
    assert verdict == Verdict("Completed")


@pytest.mark.parametrize(("sign", "target", "is_over"), [(1, 0.6, False), (1, 0.5, True)])
def test_a_target_value_ends_it(sign: int, target: float, *, is_over: bool) -> None:
    criteria = {"TargetObjectiveMetricValue": target}
    record = make_record(TuningJobCompletionCriteria=criteria)
    definition = Definition({}, [], "accuracy", sign)
    assert (decide(record, make_job(0.5), definition=definition) is not None) == is_over


def test_a_target_value_of_a_loss_is_reached_from_above() -> None:
    record = make_record(TuningJobCompletionCriteria={"TargetObjectiveMetricValue": 0.4})
    loss = Definition({}, [], "accuracy", -1)
    assert decide(record, make_job(0.5), definition=loss) is None
    assert decide(record, make_job(0.3), definition=loss) == Verdict("Completed")


def test_patience_ends_it() -> None:
    patience = {"MaxNumberOfTrainingJobsNotImproving": 3}
    record = make_record(TuningJobCompletionCriteria={"BestObjectiveNotImproving": patience})
    values = [0.5, 0.9, 0.8, 0.7]
    assert decide(record, *map(make_job, values)) is None
    assert decide(record, *map(make_job, [*values, 0.6])) == Verdict("Completed")
