"""The metrics API: values of training jobs' logs, and those that runs of experiments log.

Source: API `BatchPutMetrics`, `BatchGetMetrics`, `TrialComponentMetricSummary`; for the limits of
Timestamp, the SageMaker SDK's `experiments`.
"""

import collections
import math
import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from local_test.aws.account.account import Account
from local_test.aws.account.kinds import TRAINING_JOB, TRIAL_COMPONENT
from local_test.aws.protocol.messages import AwsError, reject
from local_test.aws.sagemaker.metadata import resources
from local_test.aws.sagemaker.metadata.resources import Operation, Request
from local_test.jobs.result import Metric

_OLDEST_S: Final = 14 * 24 * 3600
_NEWEST_S: Final = 2 * 3600
"""How far from now a Timestamp may be, in the past and in the future."""
_PERIOD_S: Final = {"OneMinute": 60, "FiveMinute": 300, "OneHour": 3600}


def _deviate(values: list[float]) -> float:
    """Return the standard deviation; NaN with a value that is not finite, as logs may have."""
    if all(map(math.isfinite, values)):
        return statistics.pstdev(values)
    return math.nan


_MEASURES: Final[Mapping[str, Callable[[list[float]], float]]] = {
    "Min": min,
    "Max": max,
    "Avg": statistics.mean,  # `fmean` overflows
    "Count": len,
    "StdDev": _deviate,
    "Last": lambda values: values[-1],
}


def _put(account: Account, request: Request) -> dict[str, Any]:
    """Answer BatchPutMetrics. Raises: AwsError if the trial component does not exist."""
    arn = account.arn(TRIAL_COMPONENT.name, request["TrialComponentName"])
    name = resources.find(account, TRIAL_COMPONENT, arn)["_name"]
    now = time.time()
    errors = []
    for index, item in enumerate(request["MetricData"]):
        time_s = item["Timestamp"]
        if not now - _OLDEST_S <= time_s <= now + _NEWEST_S:
            errors.append({"Code": "VALIDATION_ERROR", "MetricIndex": index})
            continue
        metric = Metric(item["MetricName"], float(item["Value"]), time_s, item.get("Step"))
        if not account.run_metrics.append(name, metric):
            errors.append({"Code": "INTERNAL_ERROR", "MetricIndex": index})
    return {"Errors": errors} if errors else {}


def _get(account: Account, request: Request) -> dict[str, Any]:
    """Answer BatchGetMetrics. Raises: AwsError for a query that the API does not accept."""
    return {"MetricQueryResults": [_query(account, query) for query in request["MetricQueries"]]}


OPERATIONS: Final[Mapping[str, Operation]] = {"BatchPutMetrics": _put, "BatchGetMetrics": _get}
"""The operations of the service `sagemaker-metrics`."""


def _query(account: Account, query: Mapping[str, Any]) -> dict[str, Any]:
    arn = query["ResourceArn"]
    values = _find(account, arn.lower())
    if values is None:
        message = f"{arn} is not a training job or trial component of this account"
        return {"Status": "ValidationError", "Message": message}
    by_iteration = query["XAxisType"] == "IterationNumber"
    if by_iteration != (query["Period"] == "IterationNumber"):
        reject("Period and XAxisType must both be IterationNumber, or neither")
    period_s = _PERIOD_S.get(query["Period"], 1)
    found = [metric for metric in values if metric.name == query["MetricName"]]
    groups: dict[int, list[float]] = {}
    for index, metric in enumerate(sorted(found, key=lambda item: item.time_s)):
        x = int(metric.time_s // period_s * period_s)
        if by_iteration:
            x = index if metric.step is None else metric.step
        if query.get("Start", x) <= x <= query.get("End", x):
            groups.setdefault(x, []).append(metric.value)
    measure = _MEASURES[query["MetricStat"]]
    return {
        "Status": "Complete",
        "XAxisValues": sorted(groups),
        "MetricValues": [float(measure(groups[x])) for x in sorted(groups)],
    }


def _find(account: Account, arn: str) -> Iterable[Metric] | None:
    """Return the values of what an ARN names; None if it names nothing that has any."""
    for record in account.store.list(TRAINING_JOB):
        if record["TrainingJobArn"].lower() == arn:
            return account.metrics.read(record["TrainingJobName"])
    try:
        return account.run_metrics.read(resources.find(account, TRIAL_COMPONENT, arn)["_name"])
    except AwsError:
        return None


def summarize(account: Account, component: Mapping[str, Any]) -> dict[str, Any]:
    """Return a summary of each of a trial component's metrics, as the member `Metrics`."""
    found: dict[str, list[Metric]] = collections.defaultdict(list)
    for metric in account.run_metrics.read(component["_name"]):
        found[metric.name].append(metric)
    summaries = []
    for name, metrics in found.items():
        metrics.sort(key=lambda item: item.time_s)
        values = [metric.value for metric in metrics]
        summaries.append(
            {
                "MetricName": name,
                "SourceArn": component["TrialComponentArn"],
                "TimeStamp": metrics[-1].time_s,
                **{measure: function(values) for measure, function in _MEASURES.items()},
            }
        )
    return {"Metrics": summaries} if summaries else {}
