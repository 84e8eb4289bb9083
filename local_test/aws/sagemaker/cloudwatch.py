"""The platform's own metrics: what CloudWatch shows of endpoints, and BatchGetMetrics of training jobs."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Mapping
from typing import Any, Final

from local_test.aws.account.account import Account
from local_test.aws.account.meter import Minute
from local_test.aws.account.resources import ENDPOINT, TRAINING_JOB
from local_test.aws.protocol import messages
from local_test.aws.protocol.messages import AwsError, Reply
from local_test.aws.sagemaker.endpoint_operations import meter_of
from local_test.requests import shapes

PUBLISH_S: Final = 5.0
_PERIOD_S: Final = {"OneMinute": 60, "FiveMinute": 300, "OneHour": 3600}


def run(account: Account) -> None:
    """Publish the counts of all endpoints every few seconds until the local AWS goes down."""
    while not account.is_closing.wait(PUBLISH_S):
        for record in account.store.list(ENDPOINT.name):
            meter = meter_of(account, record["EndpointName"])
            for variant in meter.variants():
                for time_s, counts in meter.drain(variant):
                    publish(account, record["EndpointName"], variant, time_s, counts)


def publish(account: Account, endpoint: str, variant: str, time_s: float, counts: Minute) -> None:
    """Hand the requests of one variant since the last time over; latencies are microseconds, as the service's."""
    count = counts.invocations
    sums = {
        "Invocations": (count, 1, 1),
        "Invocation4XXErrors": (counts.client_errors, 0, min(1, counts.client_errors)),
        "Invocation5XXErrors": (counts.server_errors, 0, min(1, counts.server_errors)),
        "ModelLatency": [value * 1e6 for value in counts.model_latency_s],
        "OverheadLatency": [value * 1e6 for value in counts.overhead_s],
    }
    dimensions = [
        {"Name": "EndpointName", "Value": endpoint},
        {"Name": "VariantName", "Value": variant},
    ]
    data = [
        {
            "MetricName": name,
            "Timestamp": time_s,
            "Dimensions": dimensions,
            "StatisticValues": {
                "SampleCount": count,
                "Sum": total,
                "Minimum": least,
                "Maximum": most,
            },
        }
        for name, (total, least, most) in sums.items()
    ]
    account.publish_metrics("AWS/SageMaker", data)


def batch_get_metrics(account: Account, body: bytes) -> Reply:
    """Answer BatchGetMetrics for the metrics that training jobs printed.

    Raises: AwsError for a request that the API does not take.
    """
    shape = shapes.input_shape("BatchGetMetrics", "sagemaker-metrics")
    request = messages.validate(shape, messages.load(body))
    results = [_query(account, query) for query in request["MetricQueries"]]
    return Reply(
        200,
        json.dumps({"MetricQueryResults": results}).encode(),
        {"Content-Type": "application/json"},
    )


def _query(account: Account, query: Mapping[str, Any]) -> dict[str, Any]:
    names = {
        record["TrainingJobArn"]: record["TrainingJobName"]
        for record in account.store.list(TRAINING_JOB.name)
    }
    name = names.get(query["ResourceArn"].lower()) or names.get(query["ResourceArn"])
    if name is None:
        return {
            "Status": "ValidationError",
            "Message": f"{query['ResourceArn']} is no training job of this account",
        }
    by_iteration = query["XAxisType"] == "IterationNumber"
    if by_iteration != (query["Period"] == "IterationNumber"):
        raise AwsError(
            "ValidationException", "Period and XAxisType must both be IterationNumber, or neither"
        )
    groups: dict[int, list[float]] = {}
    found = [metric for metric in account.metrics.read(name) if metric.name == query["MetricName"]]
    for index, metric in enumerate(found):
        place = (
            index
            if by_iteration
            else int(metric.time_s // _PERIOD_S[query["Period"]] * _PERIOD_S[query["Period"]])
        )
        if query.get("Start", place) <= place <= query.get("End", place):
            groups.setdefault(place, []).append(metric.value)
    measures: dict[str, Callable[[list[float]], float]] = {
        "Min": min,
        "Max": max,
        "Avg": statistics.fmean,
        "Count": lambda values: float(len(values)),
        "StdDev": statistics.pstdev,
        "Last": lambda values: values[-1],
    }
    measure = measures[query["MetricStat"]]
    return {
        "Status": "Complete",
        "XAxisValues": list(groups),
        "MetricValues": [float(measure(values)) for values in groups.values()],
    }
