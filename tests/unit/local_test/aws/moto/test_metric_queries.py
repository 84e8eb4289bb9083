"""Queries of metrics, which are their names and all of their dimensions."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from moto.cloudwatch.models import CloudWatchBackend

from local_test.aws.moto import metric_queries
from local_test.aws.protocol.messages import AwsError

NOW = dt.datetime(2026, 1, 1, 12, tzinfo=dt.UTC).replace(tzinfo=None)  # as moto has it
SPAN = {"start_time": NOW - dt.timedelta(hours=1), "end_time": NOW + dt.timedelta(hours=1)}
METRICS: dict[tuple[str, ...], float] = {(): 1.0, ("a",): 10.0, ("a", "b"): 100.0}


@pytest.fixture
def backend() -> CloudWatchBackend:
    metric_queries.install()
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


def test_each_query_has_its_own_metric(backend: CloudWatchBackend) -> None:
    found = backend.get_metric_data(queries=[ask("q"), ask("r", "a"), ask("s", "a", "b")], **SPAN)
    assert [item["values"] for item in found] == [[1.0], [10.0], [100.0]]


def test_decades_by_the_minute_cost_what_the_data_cost(backend: CloudWatchBackend) -> None:
    later = NOW + dt.timedelta(seconds=61)
    backend.put_metric_data("n", [{"MetricName": "m", "Value": 2.0, "Timestamp": later}])
    query = ask("q")
    query["MetricStat"]["Period"] = 60
    span = {"start_time": dt.datetime(1970, 1, 1), "end_time": dt.datetime(9999, 1, 1)}  # noqa: DTZ001 - as moto has it
    (found,) = backend.get_metric_data(queries=[query], **span)
    assert found["values"] == [1.0, 2.0]
    assert found["timestamps"] == [NOW, NOW + dt.timedelta(minutes=1)]
    (found,) = backend.get_metric_data(queries=[query], **span, scan_by="TimestampDescending")
    assert found["values"] == [2.0, 1.0]
    with pytest.raises(
        AwsError, match=r"up to [\d,]+ datapoints, which exceeds the limit of 1,440"
    ):
        backend.get_metric_statistics("n", "m", **span, period=60, stats=["Sum"], dimensions=[])
    day = {"start_time": NOW, "end_time": NOW + dt.timedelta(days=1)}
    assert backend.get_metric_statistics("n", "m", **day, period=60, stats=["Sum"], dimensions=[])


@pytest.mark.parametrize("period", [0, -60, 7, 90])
def test_a_period_is_one_of_the_service(backend: CloudWatchBackend, period: int) -> None:
    query = ask("q")
    query["MetricStat"]["Period"] = period
    with pytest.raises(AwsError, match="multiple of 60 seconds"):
        backend.get_metric_data(queries=[query], **SPAN)
    with pytest.raises(AwsError, match="multiple of 60 seconds"):
        backend.get_metric_statistics("n", "m", **SPAN, period=period, stats=["Sum"], dimensions=[])


@pytest.mark.parametrize("expression", ["q * 2", "SELECT AVG(m) FROM n"])
def test_expressions_are_ids_or_refused(backend: CloudWatchBackend, expression: str) -> None:
    hidden = {**ask("q"), "ReturnData": False}
    (found,) = backend.get_metric_data(queries=[hidden, {"Id": "e", "Expression": "q"}], **SPAN)
    assert (found["id"], found["values"]) == ("e", [1.0])
    with pytest.raises(AwsError, match="are not emulated"):
        backend.get_metric_data(queries=[hidden, {"Id": "e", "Expression": expression}], **SPAN)


def test_an_alarm_looks_back_for_a_day_or_a_week(backend: CloudWatchBackend) -> None:
    def put(period: int, periods: int) -> None:
        backend.put_metric_alarm(
            name="alarm",
            namespace="n",
            metric_name="m",
            comparison_operator="GreaterThanThreshold",
            evaluation_periods=periods,
            period=period,
            threshold=1.0,
            statistic="Sum",
            description="",
            dimensions=[],
            alarm_actions=[],
        )

    put(60, 1440)
    put(3600, 168)
    for period, periods in ((60, 1441), (3600, 169), (60, 2**31)):
        with pytest.raises(AwsError, match="must be <= "):
            put(period, periods)
