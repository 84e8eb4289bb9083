"""What CloudWatch gets of endpoints."""

from __future__ import annotations

import time
from typing import Any, cast

import pytest

from local_test.aws.account.account import Account
from local_test.aws.account.kinds import ENDPOINT
from local_test.aws.sagemaker import cloudwatch
from local_test.endpoints.asynchronous.backlog import Size

RECORD: Any = {"EndpointName": "e", "_requests": {"config": {}}}


def test_an_endpoints_requests_are_published_once(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    published: list[dict[str, Any]] = []
    monkeypatch.setattr(account, "publish_metrics", lambda _, data: published.extend(data))
    monkeypatch.setattr(cloudwatch, "PUBLISH_S", 0)
    account.store.insert(ENDPOINT, "e", RECORD)
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
    account.store.insert(ENDPOINT, "e", RECORD)
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


class PlayedEndpoint:
    """An asynchronous endpoint of no or one instance, with a backlog that a test sets."""

    def __init__(self) -> None:
        self.queue = self.deployment = self
        self.size = Size()
        self.instances = 1

    def measure(self) -> Size:
        """Return what is set."""
        return self.size

    def count_instances(self) -> dict[str, int]:
        """Return what is set."""
        return {"v": self.instances}


def test_an_asynchronous_endpoint_publishes_its_own_metrics(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    published: list[dict[str, Any]] = []
    monkeypatch.setattr(account, "publish_metrics", lambda _, data: published.extend(data))
    live = PlayedEndpoint()
    account.live[ENDPOINT.name, "e"] = live
    record: Any = {"EndpointName": "e", "_requests": {"config": {"AsyncInferenceConfig": {}}}}
    account.store.insert(ENDPOINT, "e", record)
    account.meter("e").count("v", 500, 0.1, 0.2)
    account.meter("e").note("v", "", {"InvocationFailures": 1.0, "TimeInBacklog": 5e6})
    backlogs: list[dict[str, float]] = []

    def wait(_: float) -> bool:
        backlogs.append(
            {datum["MetricName"]: datum["Value"] for datum in published[-4:] if "Value" in datum}
        )
        live.size, live.instances = steps.pop(0)
        return not steps

    steps = [(Size(), 1), (Size(), 1), (Size(3, time.time() - 60), 2), (Size(3, time.time()), 0)]
    steps.append((Size(), 1))
    monkeypatch.setattr(account.is_closing, "wait", wait)
    cloudwatch.run(account)
    shared = {item["MetricName"] for item in published if "StatisticValues" in item}
    assert shared == {
        "InvocationFailures",
        "Invocation4XXErrors",
        "Invocation5XXErrors",
        "ModelLatency",
        "TimeInBacklog",
    }
    sizes = [
        datum["Value"] for datum in published if datum["MetricName"] == "ApproximateBacklogSize"
    ]
    assert sizes == [0, 3, 3]  # the second one is as the first was
    assert backlogs[3]["ApproximateBacklogSizePerInstance"] == 1.5
    assert backlogs[3]["ApproximateAgeOfOldestRequest"] >= 60
    assert backlogs[4]["ApproximateBacklogSizePerInstance"] == 3
    assert [found["HasBacklogWithoutCapacity"] for found in backlogs[3:]] == [0, 1]
    assert {str(datum["Dimensions"]) for datum in published if "Value" in datum} == {
        "[{'Name': 'EndpointName', 'Value': 'e'}]"
    }


def test_a_level_has_a_mean_once_it_was_given_for_a_window_without_a_gap(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    moments = {100: (4, None), 130: (4, None), 160: (1, 3), 190: (1, 2), 221: (9, None)}
    moments |= {251: (9, None), 281: (9, 9)}
    for moment, (level, mean) in moments.items():
        monkeypatch.setattr(time, "time", lambda now_s=moment: float(now_s))
        assert account.meter("e").observe(level, 60) == mean, moment


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
