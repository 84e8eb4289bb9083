"""Hyperparameter tuning jobs: a thread that starts training jobs, learns from them and stops the hopeless ones.

All that a tuning job knows is in its record and in the records and metrics of its training jobs, so
that the next local AWS goes on where this one was killed.
"""

from __future__ import annotations

import contextlib
import sys
import time
import traceback
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from container.errors import UserError
from local_test.aws.account.account import INTERNAL_ERROR, Account
from local_test.aws.account.resources import (
    TRAINING_JOB,
    TUNING_JOB,
    Kind,
    list_resources,
    merge_tags,
    page,
)
from local_test.aws.account.state import Record
from local_test.aws.protocol import messages
from local_test.aws.protocol.messages import AwsError, reject
from local_test.aws.sagemaker import job_operations, tuning_strategy
from local_test.requests import shapes, validation

_RUNS_WITHOUT_OBJECTIVE: Final = 5  # after so many the service gives up
_ENDED: Final = ("Completed", "Failed", "Stopped")
_TUNED_JOB: Final = Kind("training-job", "TrainingJob", "TrainingJobStatus")
_LOOK_S: Final = 1.0  # how often time limits are looked at; ends and metrics wake the tuner at once


@dataclass(frozen=True)
class _Definition:
    """One training job definition with what is searched in it."""

    request: Mapping[str, Any]
    ranges: list[tuning_strategy.Range]
    metric: str
    sign: int
    """1 to maximize, -1 to minimize."""

    @property
    def name(self) -> str:
        return str(self.request.get("DefinitionName", ""))


def create_tuning_job(account: Account, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answer CreateHyperParameterTuningJob."""
    name = request["HyperParameterTuningJobName"]
    arn = account.arn(TUNING_JOB.name, name)
    faults: list[str] = []
    definitions = _read_definitions(request, faults)
    _check_configuration(account, request, definitions, faults)
    if faults:
        reject("; ".join(faults))
    now = time.time()
    kept = {key: value for key, value in request.items() if key != "Tags"}
    record = {
        **kept,
        "_request": kept,
        "HyperParameterTuningJobArn": arn,
        "HyperParameterTuningJobStatus": "InProgress",
        "CreationTime": now,
        "LastModifiedTime": now,
        "Tags": merge_tags([], request.get("Tags", [])),
    }
    if not account.store.insert(TUNING_JOB.name, name, record):
        message = (
            "Hyperparameter tuning job names must be unique within an AWS account and region, and a tuning job with "
            f"this name already exists ({arn})"
        )
        raise AwsError("ResourceInUse", message)
    _begin(account, name)
    return {"HyperParameterTuningJobArn": arn}


def _begin(account: Account, name: str) -> None:
    account.start_thread(f"tuning {name}", lambda: _Tuner(account, name).run())


def _read_definitions(request: Mapping[str, Any], faults: list[str]) -> list[_Definition]:
    config = request["HyperParameterTuningJobConfig"]
    if ("TrainingJobDefinition" in request) == ("TrainingJobDefinitions" in request):
        faults.append("One of TrainingJobDefinition and TrainingJobDefinitions must be given")
        return []
    single = request.get("TrainingJobDefinition")
    found = []
    for item in [single] if single else request["TrainingJobDefinitions"]:
        own = dict(item)
        objective = own.get("TuningObjective") or config.get("HyperParameterTuningJobObjective")
        ranges = own.get("HyperParameterRanges") or config.get("ParameterRanges")
        if not objective:
            faults.append(
                "HyperParameterTuningJobObjective is required for an algorithm of one's own"
            )
            continue
        if not ranges or not any(ranges.values()):
            faults.append("ParameterRanges is required")
            continue
        if ranges.get("AutoParameters"):
            faults.append("AutoParameters are not emulated; name a range for each hyperparameter")
        metrics = [
            metric["Name"] for metric in own["AlgorithmSpecification"].get("MetricDefinitions", ())
        ]
        if objective["MetricName"] not in metrics:
            known = ", ".join(metrics) or "none"
            faults.append(
                f"The objective metric {objective['MetricName']!r} is not among the metric definitions: {known}"
            )
        parsed = tuning_strategy.parse_ranges(ranges, faults)
        static = own.get("StaticHyperParameters", {})
        both = sorted({item.name for item in parsed} & static.keys())
        if both:
            faults.append(f"Hyperparameters are both static and tuned: {', '.join(both)}")
        if len(parsed) > 30:
            faults.append(f"{len(parsed)} hyperparameters are tuned; 30 are possible (HPO-5)")
        if len(parsed) + len(static) + 1 > 100:
            faults.append(
                f"{len(parsed) + len(static) + 1} hyperparameters with the objective's name; 100 are possible (HPO-5)"
            )
        sign = 1 if objective["Type"] == "Maximize" else -1
        found.append(_Definition(own, parsed, objective["MetricName"], sign))
    return found


def _check_configuration(
    account: Account, request: Mapping[str, Any], definitions: list[_Definition], faults: list[str]
) -> None:
    config = request["HyperParameterTuningJobConfig"]
    limits = config["ResourceLimits"]
    strategy = config["Strategy"]
    if strategy == "Grid":
        if any(
            item.kind != "Categorical" for definition in definitions for item in definition.ranges
        ):
            faults.append("Grid search takes categorical ranges alone")
        if "WarmStartConfig" in request:
            faults.append("Grid search cannot be warm started")
    elif "MaxNumberOfTrainingJobs" not in limits and "MaxRuntimeInSeconds" not in limits:
        faults.append("ResourceLimits.MaxNumberOfTrainingJobs is required")
    most = limits.get("MaxNumberOfTrainingJobs")
    if most is not None and limits["MaxParallelTrainingJobs"] > most:
        faults.append(
            f"MaxParallelTrainingJobs {limits['MaxParallelTrainingJobs']} exceeds MaxNumberOfTrainingJobs {most}"
        )
    band = config.get("StrategyConfig", {}).get("HyperbandStrategyConfig", {})
    if band.get("MinResource", 1) >= band.get("MaxResource", 81):
        faults.append(
            f"MinResource {band.get('MinResource', 1)} must be less than MaxResource {band.get('MaxResource', 81)}"
        )
    if request.get("Autotune", {}).get("Mode") == "Enabled":
        faults.append("Autotune is not emulated")
    _check_parents(account, request, faults)


def _check_parents(account: Account, request: Mapping[str, Any], faults: list[str]) -> None:
    for parent in request.get("WarmStartConfig", {}).get("ParentHyperParameterTuningJobs", ()):
        name = parent.get("HyperParameterTuningJobName", "")
        found = account.store.find(TUNING_JOB.name, name)
        if found is None:
            faults.append(f"The parent tuning job {name!r} does not exist")
        elif found["HyperParameterTuningJobStatus"] not in ("Completed", "Stopped", "Failed"):
            faults.append(f"The parent tuning job {name!r} has not ended")


class _Tuner:
    """One running tuning job."""

    def __init__(self, account: Account, name: str) -> None:
        self._account = account
        self._name = name
        self._is_exhausted = False
        self._proposed: list[float] | None = None
        """A point that waits for a free instance."""

    def run(self) -> None:
        try:
            status, failure = self._run()
        except (AwsError, UserError) as error:  # SageMaker would have refused the training job
            status, failure = "Failed", str(error)
        except Exception:  # noqa: BLE001 - a bug of ours ends the job, not the server
            traceback.print_exc(file=sys.stderr)
            status, failure = "Failed", INTERNAL_ERROR
        if status:
            for child in _list_children(self._account, self._name):
                self._stop(child)
            changes = {"FailureReason": failure[:1024]} if failure else {}
            self._account.store.update(
                *(TUNING_JOB.name, self._name),
                HyperParameterTuningJobStatus=status,
                HyperParameterTuningEndTime=time.time(),
                **changes,
            )

    def _run(self) -> tuple[str, str]:
        """Tune; give the status to end with and why, or no status when the local AWS is going down."""
        record = self._record()
        request = record["_request"]
        self._config = request["HyperParameterTuningJobConfig"]
        self._definitions = _read_definitions(request, [])
        children = _list_children(self._account, self._name)
        self._searchers = [
            self._make_searcher(index, sum(child["_definition"] == index for child in children))
            for index in range(len(self._definitions))
        ]
        self._learn_from_parents(request)
        learned: set[str] = set()
        while True:
            seen = self._account.change_count()
            record, children = self._record(), _list_children(self._account, self._name)
            for child in children:
                if child["TrainingJobStatus"] in _ENDED and child["TrainingJobName"] not in learned:
                    learned.add(child["TrainingJobName"])
                    self._learn(child)
            running = [child for child in children if child["TrainingJobStatus"] not in _ENDED]
            verdict = self._judge(record, children)
            if verdict is not None or self._account.is_closing.is_set():
                for child in running:
                    self._stop(child)
                if not running or self._account.is_closing.is_set():
                    return verdict or ("", "")
            else:
                self._stop_hopeless(children)
                while self._may_start(children) and self._start(len(children)):
                    children = _list_children(self._account, self._name)
            self._account.wait_for_change(seen, _LOOK_S)

    def _record(self) -> Record:
        found = self._account.store.find(TUNING_JOB.name, self._name)
        assert found is not None  # noqa: S101 - tuning jobs are not deleted
        return found

    def _make_searcher(self, index: int, tried: int) -> tuning_strategy.Searcher:
        ranges = self._definitions[index].ranges
        seed = self._config.get("RandomSeed")
        if self._config["Strategy"] == "Grid":
            return tuning_strategy.GridSearcher(ranges, tried)
        # An earlier process has used up the generator's first numbers; the next ones must differ.
        seed = None if seed is None else seed + 1000 * index + tried
        if self._config["Strategy"] == "Bayesian":
            return tuning_strategy.BayesianSearcher(ranges, seed)
        return tuning_strategy.RandomSearcher(ranges, seed)

    def _learn_from_parents(self, request: Mapping[str, Any]) -> None:
        for parent in request.get("WarmStartConfig", {}).get("ParentHyperParameterTuningJobs", ()):
            for child in _list_children(self._account, parent["HyperParameterTuningJobName"]):
                for index in range(len(self._definitions)):
                    self._learn({**child, "_definition": index})

    def _learn(self, child: Record) -> None:
        definition = self._definitions[child["_definition"]]
        value = _final_value(child, definition.metric)
        tuned = child["_tuned"]
        positions = [
            item.locate(tuned[item.name]) if item.name in tuned else None
            for item in definition.ranges
        ]
        if value is not None and all(position is not None for position in positions):
            point = child.get("_point") or [position or 0.0 for position in positions]
            self._searchers[child["_definition"]].learn(point, definition.sign * value)

    def _judge(self, record: Record, children: list[Record]) -> tuple[str, str] | None:
        """Give the end that the tuning job should come to, if it should."""
        if record["HyperParameterTuningJobStatus"] == "Stopping":
            return "Stopped", ""
        limits = self._config["ResourceLimits"]
        ended = [child for child in children if child["TrainingJobStatus"] in _ENDED]
        metric = self._definitions[0].metric
        has_objective = any(_final_value(child, self._metric(child)) is not None for child in ended)
        if len(ended) >= _RUNS_WITHOUT_OBJECTIVE and not has_objective:
            return "Failed", (
                f"No objective metrics found after running {len(ended)} training jobs. Please ensure that the custom "
                f"algorithm is emitting the objective metric {metric} as defined by the regular expression provided."
            )
        is_over = time.time() - record["CreationTime"] > limits.get(
            "MaxRuntimeInSeconds", float("inf")
        )
        if is_over or self._is_good_enough(ended):
            return "Completed", ""
        count = limits.get("MaxNumberOfTrainingJobs", float("inf"))
        if (self._is_exhausted or len(children) >= count) and len(ended) == len(children):
            reasons = [
                child.get("FailureReason", "")
                for child in ended
                if child["TrainingJobStatus"] == "Failed"
            ]
            failure = (
                f"All training jobs failed. {reasons[0] if reasons else f'None printed {metric}.'}"
            )
            return ("Completed", "") if has_objective else ("Failed", failure)
        return None

    def _metric(self, child: Record) -> str:
        return self._definitions[child["_definition"]].metric

    def _is_good_enough(self, ended: list[Record]) -> bool:
        criteria = self._config.get("TuningJobCompletionCriteria", {})
        values = []
        for child in ended:
            definition = self._definitions[child["_definition"]]
            value = _final_value(child, definition.metric)
            if value is not None:
                values.append(definition.sign * value)
        if not values:
            return False
        target = criteria.get("TargetObjectiveMetricValue")
        if target is not None and max(values) >= self._definitions[0].sign * target:
            return True
        patience = criteria.get("BestObjectiveNotImproving", {}).get(
            "MaxNumberOfTrainingJobsNotImproving"
        )
        return patience is not None and len(values) - 1 - values.index(max(values)) >= patience

    def _may_start(self, children: list[Record]) -> bool:
        limits = self._config["ResourceLimits"]
        running = sum(child["TrainingJobStatus"] not in _ENDED for child in children)
        most: int = limits.get("MaxNumberOfTrainingJobs", sys.maxsize)
        is_free: bool = running < limits["MaxParallelTrainingJobs"]
        return is_free and len(children) < most and not self._is_exhausted

    def _start(self, number: int) -> bool:
        """Start the next training job; False if there is nothing left to try, or no instance free.

        Raises: AwsError for a request that the service does not take.
        """
        index = number % len(self._definitions)
        definition = self._definitions[index]
        point = self._proposed or self._searchers[index].propose()
        if point is None:
            self._is_exhausted = True
            return False
        tuned = {
            item.name: item.format(position)
            for item, position in zip(definition.ranges, point, strict=True)
        }
        request = _make_request(
            definition, f"{self._name}-{number + 1:03}-{uuid.uuid4().hex[:8]}", tuned
        )
        extra = {
            "TuningJobArn": self._record()["HyperParameterTuningJobArn"],
            "_tuning": self._name,
            "_tuned": tuned,
            "_point": point,
            "_definition": index,
            "_bracket": number,
        }
        try:
            job_operations.start_training_job(
                self._account, validation.validate("CreateTrainingJob", request), extra
            )
        except AwsError as error:
            if error.code != "ResourceLimitExceeded":
                raise
            self._proposed = point
            return False
        self._proposed = None
        return True

    def _stop(self, child: Record) -> None:
        if child["TrainingJobStatus"] == "InProgress":
            with contextlib.suppress(AwsError):  # it has ended meanwhile
                job_operations.stop_job(
                    self._account,
                    job_operations.TRAINING,
                    {"TrainingJobName": child["TrainingJobName"]},
                )

    def _stop_hopeless(self, children: list[Record]) -> None:
        strategy = self._config["Strategy"]
        is_auto = self._config.get("TrainingJobEarlyStoppingType") == "Auto"
        if strategy != "Hyperband" and not is_auto:
            return
        values = {child["TrainingJobName"]: self._read_values(child) for child in children}
        for child in children:
            if child["TrainingJobStatus"] != "InProgress":
                continue
            own = values[child["TrainingJobName"]]
            peers = [
                other
                for other in children
                if other is not child and other["_definition"] == child["_definition"]
            ]
            if strategy == "Hyperband":
                band = self._config.get("StrategyConfig", {}).get("HyperbandStrategyConfig", {})
                least, most = band.get("MinResource", 1), band.get("MaxResource", 81)
                count = tuning_strategy.bracket_count(least, most)
                bracket = child["_bracket"] % count
                others = [
                    values[peer["TrainingJobName"]]
                    for peer in peers
                    if peer["_bracket"] % count == bracket
                ]
                levels = tuning_strategy.rungs(least, most, bracket)
                # Epochs may have passed between two looks: every rung that was reached since
                # counts.
                hopeless = len(own) > most or any(
                    tuning_strategy.is_cut(own[:level], others, levels)
                    for level in levels
                    if level <= len(own)
                )
            else:
                done = [
                    values[peer["TrainingJobName"]]
                    for peer in peers
                    if peer["TrainingJobStatus"] == "Completed"
                ]
                hopeless = tuning_strategy.is_worse_than_median(own, done)
            if hopeless:
                self._stop(child)

    def _read_values(self, child: Record) -> list[float]:
        definition = self._definitions[child["_definition"]]
        found = self._account.metrics.read(child["TrainingJobName"])
        return [
            definition.sign * metric.value for metric in found if metric.name == definition.metric
        ]


def _make_request(definition: _Definition, name: str, tuned: Mapping[str, str]) -> dict[str, Any]:
    own = dict(definition.request)
    for key in ("DefinitionName", "TuningObjective", "HyperParameterRanges"):
        own.pop(key, None)
    resources = own.pop("HyperParameterTuningResourceConfig", None)
    if resources is not None and "ResourceConfig" not in own:
        own["ResourceConfig"] = {
            key: resources[key]
            for key in ("InstanceType", "InstanceCount", "VolumeSizeInGB")
            if key in resources
        }
    static = own.pop("StaticHyperParameters", {})
    return {
        **own,
        "TrainingJobName": name,
        "HyperParameters": {**static, **tuned, "_tuning_objective_metric": definition.metric},
    }


def _list_children(account: Account, name: str) -> list[Record]:
    return [
        record for record in account.store.list(TRAINING_JOB.name) if record.get("_tuning") == name
    ]


def _final_value(child: Record, metric: str) -> float | None:
    """Give the objective's last value of a training job that ended well enough to have one."""
    if child["TrainingJobStatus"] not in ("Completed", "Stopped"):
        return None
    values = {item["MetricName"]: item["Value"] for item in child.get("FinalMetricDataList", ())}
    return values.get(metric)


def _summarize(record: Record, child: Record) -> dict[str, Any]:
    """Give the summary of a training job for its tuning job."""
    definitions = _read_definitions(record["_request"], [])
    definition = definitions[child["_definition"]]
    value = _final_value(child, definition.metric)
    shape = shapes.service_model().shape_for("HyperParameterTrainingJobSummary")
    summary = messages.pick(shape, child)
    summary |= {"TunedHyperParameters": child["_tuned"]}
    if definition.name:
        summary["TrainingJobDefinitionName"] = definition.name
    if value is not None:
        kind = "Maximize" if definition.sign == 1 else "Minimize"
        objective = {"Type": kind, "MetricName": definition.metric, "Value": value}
        summary |= {
            "ObjectiveStatus": "Succeeded",
            "FinalHyperParameterTuningJobObjectiveMetric": objective,
        }
    else:
        summary["ObjectiveStatus"] = "Failed" if child["TrainingJobStatus"] in _ENDED else "Pending"
    return summary


def _find(account: Account, request: Mapping[str, Any]) -> Record:
    name = request["HyperParameterTuningJobName"]
    record = account.store.find(TUNING_JOB.name, name)
    if record is None:
        message = f"Amazon SageMaker can't find a tuning job with the name: {name}."
        raise AwsError("ResourceNotFound", message)
    return record


def enrich(account: Account, record: Record) -> Record:
    """Add to a tuning job's record what follows from its training jobs."""
    children = _list_children(account, record["HyperParameterTuningJobName"])
    summaries = [_summarize(record, child) for child in children]
    states = [child["TrainingJobStatus"] for child in children]
    lost = sum(
        child.get("FailureReason", "").startswith("InternalServerError") for child in children
    )
    counters = {
        "Completed": states.count("Completed"),
        "InProgress": states.count("InProgress") + states.count("Stopping"),
        "RetryableError": lost,
        "NonRetryableError": states.count("Failed") - lost,
        "Stopped": states.count("Stopped"),
    }
    objectives = [summary["ObjectiveStatus"] for summary in summaries]
    seconds = sum(child.get("TrainingTimeInSeconds", 0) for child in children)
    result = {
        **record,
        "TrainingJobStatusCounters": counters,
        "ObjectiveStatusCounters": {
            state: objectives.count(state) for state in ("Succeeded", "Pending", "Failed")
        },
        "ConsumedResources": {"RuntimeInSeconds": seconds},
        "ResourceLimits": record["HyperParameterTuningJobConfig"]["ResourceLimits"],
        "Strategy": record["HyperParameterTuningJobConfig"]["Strategy"],
    }
    best = _find_best(summaries)
    if best is not None:
        result["BestTrainingJob"] = best
    warm = record.get("WarmStartConfig", {})
    if warm.get("WarmStartType") == "IdenticalDataAndAlgorithm":
        parents = [
            _summarize(parent, child)
            for item in warm["ParentHyperParameterTuningJobs"]
            if (parent := account.store.find(TUNING_JOB.name, item["HyperParameterTuningJobName"]))
            is not None
            for child in _list_children(account, item["HyperParameterTuningJobName"])
        ]
        overall = _find_best([*summaries, *parents])
        if overall is not None:
            result["OverallBestTrainingJob"] = overall
    return result


def _find_best(summaries: list[dict[str, Any]]) -> dict[str, Any] | None:
    finals = [item for item in summaries if "FinalHyperParameterTuningJobObjectiveMetric" in item]

    def rank(summary: dict[str, Any]) -> float:
        objective = summary["FinalHyperParameterTuningJobObjectiveMetric"]
        return float(objective["Value"] * (1 if objective["Type"] == "Maximize" else -1))

    return max(finals, key=rank, default=None)


def describe_tuning_job(account: Account, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answer DescribeHyperParameterTuningJob."""
    shape = messages.output_shape("DescribeHyperParameterTuningJob")
    return messages.pick(shape, enrich(account, _find(account, request)))


def stop_tuning_job(account: Account, request: Mapping[str, Any]) -> None:
    """Answer StopHyperParameterTuningJob."""
    record = _find(account, request)

    def change(record: Record) -> None:
        if record["HyperParameterTuningJobStatus"] not in job_operations.UNFINISHED:
            reject(
                "The request was rejected because the tuning job is in status "
                f"{record['HyperParameterTuningJobStatus']}."
            )
        record["HyperParameterTuningJobStatus"] = "Stopping"

    account.store.edit(TUNING_JOB.name, record["HyperParameterTuningJobName"], change)
    account.notify()


def list_tuning_jobs(account: Account, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answer ListHyperParameterTuningJobs."""
    return list_resources(account, "ListHyperParameterTuningJobs", request, enrich)


def list_summaries(account: Account, record: Record) -> list[dict[str, Any]]:
    """Give the summaries of a tuning job's training jobs in the order of their making."""
    return [
        _summarize(record, child)
        for child in _list_children(account, record["HyperParameterTuningJobName"])
    ]


def list_training_jobs(account: Account, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answer ListTrainingJobsForHyperParameterTuningJob."""
    record = _find(account, request)
    summaries = list_summaries(account, record)
    wanted = [
        item
        for item in summaries
        if request.get("StatusEquals", item["TrainingJobStatus"]) == item["TrainingJobStatus"]
    ]
    if request.get("SortBy") == "FinalObjectiveMetricValue":
        # Those without a value are left out, as the reference says.
        wanted = [
            {
                **item,
                "FinalObjectiveMetricValue": item["FinalHyperParameterTuningJobObjectiveMetric"][
                    "Value"
                ],
            }
            for item in wanted
            if "FinalHyperParameterTuningJobObjectiveMetric" in item
        ]
    order = {"SortBy": "Name", "SortOrder": "Ascending", **request}
    return page(
        "ListTrainingJobsForHyperParameterTuningJob",
        "TrainingJobSummaries",
        _TUNED_JOB,
        wanted,
        order,
    )


def recover(account: Account) -> None:
    """Go on with the tuning jobs of the last local AWS."""
    for record in account.store.list(TUNING_JOB.name):
        if record["HyperParameterTuningJobStatus"] in job_operations.UNFINISHED:
            _begin(account, record["HyperParameterTuningJobName"])
