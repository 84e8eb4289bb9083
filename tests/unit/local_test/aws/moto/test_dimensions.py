"""Queries of metrics, which are their names and all of their dimensions."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from moto.cloudwatch.models import CloudWatchBackend

from local_test.aws.moto import dimensions
from local_test.aws.protocol.messages import AwsError

NOW = dt.datetime(2026, 1, 1, 12, tzinfo=dt.UTC).replace(tzinfo=None)  # as moto has it
SPAN = {"start_time": NOW - dt.timedelta(hours=1), "end_time": NOW + dt.timedelta(hours=1)}
METRICS: dict[tuple[str, ...], float] = {(): 1.0, ("a",): 10.0, ("a", "b"): 100.0}


@pytest.fixture
def backend() -> CloudWatchBackend:
    dimensions.install()
    found = CloudWatchBackend("us-east-1", "1" * 12)
    for names, value in METRICS.items():
        datum = {"MetricName": "m", "Value": value, "Timestamp": NOW, "Dimensions": make(*names)}
        found.put_metric_data("n", [datum])
    return found


def make(*names: str) -> list[dict[str, str]]:
    return [{"Name": name, "Value": name} for name in names]


def ask(identity: str, *names: str) -> dict[str, Any]:
    metric = {"Namespace": "n", "MetricName": "m", "Dimensions": make(*names)}
    stat = {"Metric": metric, "Period": 3600, "Stat": "Sum"}
    return {"Id": identity, "MetricStat": stat}


@pytest.mark.parametrize("names", METRICS)
def test_statistics_are_those_of_exactly_the_dimensions(
    backend: CloudWatchBackend, names: tuple[str, ...]
) -> None:
    (found,) = backend.get_metric_statistics(
        "n", "m", **SPAN, period=60, stats=["Sum"], dimensions=make(*names)
    )
    assert found.get_statistics_for_type("Sum") == METRICS[names]


@pytest.mark.parametrize("names", METRICS)
def test_data_are_those_of_exactly_the_dimensions(
    backend: CloudWatchBackend, names: tuple[str, ...]
) -> None:
    (found,) = backend.get_metric_data(queries=[ask("q", *names)], **SPAN)
    assert found["values"] == [METRICS[names]]


def test_what_moto_cannot_tell_apart_is_refused(backend: CloudWatchBackend) -> None:
    both = backend.get_metric_data(queries=[ask("q", "a"), ask("r", "a", "b")], **SPAN)
    assert [item["values"] for item in both] == [[10.0], [100.0]]
    with pytest.raises(AwsError, match="with and without Dimensions") as caught:
        backend.get_metric_data(queries=[ask("q"), ask("r", "a")], **SPAN)
    assert caught.value.code == "InvalidParameterCombination"
