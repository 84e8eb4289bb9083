"""What CloudWatch gets of endpoints, and what BatchGetMetrics answers."""

from __future__ import annotations

import json
from typing import Any, cast

import pytest

from local_test.aws.account.account import Account
from local_test.aws.account.kinds import ENDPOINT, TRAINING_JOB
from local_test.aws.protocol.messages import AwsError
from local_test.aws.sagemaker import cloudwatch
from local_test.jobs.result import Metric


def test_an_endpoints_requests_are_published_once(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    published: list[dict[str, Any]] = []
    monkeypatch.setattr(account, "publish_metrics", lambda _, data: published.extend(data))
    monkeypatch.setattr(cloudwatch, "PUBLISH_S", 0)
    account.store.insert(ENDPOINT, "e", {"EndpointName": "e"})
    meter = account.meter("e")
    for status, latency_s in ((200, 0.25), (415, 0.5), (0, 0.25)):
        meter.count("v", status, latency_s, latency_s + 0.5, setup_s=2.0)
    turns = iter([False, False, True])
    monkeypatch.setattr(account.is_closing, "wait", lambda _: next(turns))
    cloudwatch.run(account)
    values = {datum["MetricName"]: datum["StatisticValues"] for datum in published}
    assert len(published) == 7  # values that differ by more than 5 % are published apart
    assert values["Invocations"]["Sum"] == 3
    assert values["Invocation4XXErrors"]["Sum"] == 1
    assert values["Invocation5XXErrors"]["Sum"] == 1
    latencies = [
        datum["StatisticValues"] for datum in published if datum["MetricName"] == "ModelLatency"
    ]
    quarter = {"SampleCount": 2, "Sum": 0.5e6, "Minimum": 0.25e6, "Maximum": 0.25e6}
    half = {"SampleCount": 1, "Sum": 0.5e6, "Minimum": 0.5e6, "Maximum": 0.5e6}
    assert latencies == [quarter, half]
    assert values["OverheadLatency"]["Sum"] == 1.5e6
    assert values["ModelSetupTime"]["Sum"] == 6e6


def test_requests_are_published_for_their_fleet_too(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    published: list[dict[str, Any]] = []
    monkeypatch.setattr(account, "publish_metrics", lambda _, data: published.extend(data))
    account.store.insert(ENDPOINT, "e", {"EndpointName": "e"})
    for config, status in (("old", 200), ("new", 500), ("new", 0)):
        account.meter("e").count("v", status, 0.1, 0.1, config=config)
    turns = iter([False, True])
    monkeypatch.setattr(account.is_closing, "wait", lambda _: next(turns))
    cloudwatch.run(account)
    sums: dict[tuple[str, ...], float] = {}
    for datum in published:
        if datum["MetricName"] == "Invocation5XXErrors":
            values = tuple(item["Value"] for item in datum["Dimensions"])
            sums[values] = sums.get(values, 0) + datum["StatisticValues"]["Sum"]
    assert sums == {("e", "v"): 2, ("e", "v", "old"): 0, ("e", "v", "new"): 2}
    assert cast("Any", account.alarms).evaluated == 1


def test_the_meter_counts_by_variant(account: Account) -> None:
    meter = account.meter("e")
    assert meter.latency_s("v", 0.5) is None
    for total_s in (0.1, 0.2, 0.3):
        meter.count("v", 200, 0.1, total_s)
    assert meter.variants() == ["v"]
    assert meter.count_recent("v", 60) == 3
    assert meter.count_recent("other", 60) == 0
    assert meter.latency_s("v", 0.5) == 0.2
    assert meter.latency_s("v", 0.99) == 0.3
    assert account.meter("e") is meter
    account.drop_meter("e")
    assert account.meter("e") is not meter


@pytest.fixture
def arn(account: Account) -> str:
    arn = account.arn("training-job", "j")
    account.store.insert(TRAINING_JOB, "j", {"TrainingJobName": "j", "TrainingJobArn": arn})
    for index, value in enumerate([1.0, 2.0, 6.0]):
        account.metrics.append("j", Metric("loss", value, 600.0 + 40 * index))
    return arn


def query(account: Account, arn: str, **members: Any) -> dict[str, Any]:
    request = {
        "MetricName": "loss",
        "ResourceArn": arn,
        "MetricStat": "Avg",
        "Period": "OneMinute",
        "XAxisType": "Timestamp",
        **members,
    }
    body = json.dumps({"MetricQueries": [request]}).encode()
    reply = cloudwatch.batch_get_metrics(account, body)
    [result] = json.loads(reply.body)["MetricQueryResults"]
    found: dict[str, Any] = result
    return found


def test_values_are_grouped_by_minute_or_by_iteration(account: Account, arn: str) -> None:
    assert query(account, arn)["XAxisValues"] == [600, 660]
    assert query(account, arn)["MetricValues"] == [1.5, 6.0]
    assert query(account, arn, MetricStat="Count")["MetricValues"] == [2.0, 1.0]
    iteration = {"Period": "IterationNumber", "XAxisType": "IterationNumber"}
    assert query(account, arn, **iteration)["XAxisValues"] == [0, 1, 2]
    assert query(account, arn, Start=660)["MetricValues"] == [6.0]


def test_a_job_of_another_account_has_no_metrics(account: Account, arn: str) -> None:
    result = query(account, arn.replace("/j", "/other"))
    assert result["Status"] == "ValidationError"
    assert "is not a training job of this account" in result["Message"]


def test_period_and_axis_must_fit(account: Account, arn: str) -> None:
    with pytest.raises(AwsError, match="must both be IterationNumber"):
        query(account, arn, XAxisType="IterationNumber")
