"""When a tuning job ends, and how. Rules of this file: pure, except for the clock."""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from local_test.aws.account.records import TrainingJob, TuningJob
from local_test.aws.sagemaker.tuning.definitions import Definition
from local_test.jobs.status import UNFINISHED

_RUNS_WITHOUT_OBJECTIVE: Final = 5  # the service fails a tuning job after so many


@dataclass(frozen=True)
class Verdict:
    """How a tuning job ends."""

    status: str
    failure: str = ""


def judge(
    record: TuningJob,
    definitions: Sequence[Definition],
    jobs: Sequence[TrainingJob],
    *,
    is_exhausted: bool,
) -> Verdict | None:
    """Return how a tuning job should end now, or None if it should continue.

    `is_exhausted` means that the search has nothing left to try.
    """
    if record["HyperParameterTuningJobStatus"] == "Stopping":
        return Verdict("Stopped")
    config = record["HyperParameterTuningJobConfig"]
    ended = [job for job in jobs if job["TrainingJobStatus"] not in UNFINISHED]
    values = _read_objectives(definitions, ended)
    metric = definitions[0].metric
    if len(ended) >= _RUNS_WITHOUT_OBJECTIVE and not values:
        return Verdict(
            "Failed",
            f"No objective metrics found after running {len(ended)} training jobs. Please ensure "
            f"that the custom algorithm is emitting the objective metric {metric} as defined by "
            "the regular expression provided.",
        )
    limits = config["ResourceLimits"]
    passed_s = time.time() - record["CreationTime"]
    is_over = passed_s > limits.get("MaxRuntimeInSeconds", math.inf)
    if is_over or _is_good_enough(config, definitions[0].sign, values):
        return Verdict("Completed")
    has_started_all = is_exhausted or len(jobs) >= limits.get("MaxNumberOfTrainingJobs", math.inf)
    if not has_started_all or len(ended) < len(jobs):
        return None
    return Verdict("Completed") if values else Verdict("Failed", _explain(ended, metric))


def _explain(ended: Sequence[TrainingJob], metric: str) -> str:
    """Return why no training job has an objective value."""
    for job in ended:
        if job["TrainingJobStatus"] == "Failed":
            return f"All training jobs failed. {job.get('FailureReason', '')}"
    return f"All training jobs failed. None printed {metric}."


def _read_objectives(definitions: Sequence[Definition], jobs: Sequence[TrainingJob]) -> list[float]:
    """Return the objective values of the jobs that have one; greater is better."""
    values = []
    for job in jobs:
        definition = definitions[job["_definition"]]
        value = definition.final_value(job)
        if value is not None:
            values.append(definition.sign * value)
    return values


def _is_good_enough(config: Mapping[str, Any], sign: int, values: list[float]) -> bool:
    if not values:
        return False
    criteria = config.get("TuningJobCompletionCriteria", {})
    target = criteria.get("TargetObjectiveMetricValue")
    best = max(values)
    if target is not None and best >= sign * target:
        return True
    patience = criteria.get("BestObjectiveNotImproving", {}).get(
        "MaxNumberOfTrainingJobsNotImproving", math.inf
    )
    return bool(len(values) - 1 - values.index(best) >= patience)
