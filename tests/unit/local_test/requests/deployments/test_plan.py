"""The steps of a deployment: their sizes, shares and waits."""

from __future__ import annotations

import math
from typing import Any

import pytest

from local_test.requests.deployments import plan


def config(**counts: int) -> dict[str, Any]:
    variants = [
        {"VariantName": name, "InitialInstanceCount": count} for name, count in counts.items()
    ]
    return {"EndpointConfigName": "new", "ProductionVariants": variants}


def percent(value: int) -> dict[str, Any]:
    return {"Type": "CAPACITY_PERCENT", "Value": value}


def instances(value: int) -> dict[str, Any]:
    return {"Type": "INSTANCE_COUNT", "Value": value}


def route(kind: str, **members: Any) -> dict[str, Any]:
    routing = {"Type": kind, "WaitIntervalInSeconds": 60, **members}
    return {
        "BlueGreenUpdatePolicy": {
            "TrafficRoutingConfiguration": routing,
            "TerminationWaitInSeconds": 30,
            "MaximumExecutionTimeoutInSeconds": 900,
        }
    }


def test_without_a_policy_all_traffic_is_shifted_at_once() -> None:
    found = plan.make_plan({}, config(a=2))
    (step,) = found.steps
    assert (step.is_full, step.instances, step.wait_s) == (True, 2, 0)
    assert (found.timeout_s, found.alarms, found.is_rolling) == (math.inf, (), False)


def test_all_at_once_waits_for_termination_only() -> None:
    found = plan.make_plan(route("ALL_AT_ONCE"), config(a=2))
    assert [(step.wait_s, step.wait_field) for step in found.steps] == [
        (30, "TerminationWaitInSeconds")
    ]
    assert found.timeout_s == 900


@pytest.mark.parametrize(
    ("size", "total", "count", "share"),
    [
        (instances(1), 3, 1, 1 / 3),
        (percent(30), 3, 1, 0.3),
        (percent(10), 1, 1, 0.1),  # one instance; the share is exact all the same
        (percent(50), 3, 1, 0.5),
        (percent(33), 6, 2, 0.33),
    ],
)
def test_a_canary_comes_before_the_rest(
    size: dict[str, Any], total: int, count: int, share: float
) -> None:
    canary, rest = plan.make_plan(route("CANARY", CanarySize=size), config(a=total)).steps
    assert (canary.counts["a"], canary.shares["a"]) == (count, pytest.approx(share))
    assert (canary.wait_s, canary.wait_field, canary.is_full) == (
        60,
        "WaitIntervalInSeconds",
        False,
    )
    assert (rest.counts["a"], rest.is_full, rest.wait_s) == (total, True, 30)


@pytest.mark.parametrize(
    ("size", "total", "shares"),
    [
        (percent(50), 2, [0.5, 1]),
        (percent(33), 3, [0.33, 0.66, 1]),  # not a fourth step for one percent
        (percent(30), 3, [0.3, 0.6, 0.9, 1]),
        (percent(10), 1, [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1]),
        (instances(1), 3, [1 / 3, 2 / 3, 1]),
        (instances(2), 5, [0.4, 0.8, 1]),
    ],
)
def test_linear_steps_end_with_all(size: dict[str, Any], total: int, shares: list[float]) -> None:
    found = plan.make_plan(route("LINEAR", LinearStepSize=size), config(a=total))
    assert [step.shares["a"] for step in found.steps] == pytest.approx(shares)
    assert found.steps[-1].counts == {"a": total}
    assert all(step.counts["a"] <= total for step in found.steps)
    assert found.wait_s == 60 * (len(shares) - 1) + 30


def test_each_variant_has_its_own_share_of_an_instance_count() -> None:
    size = instances(1)
    found = plan.make_plan(route("LINEAR", LinearStepSize=size), config(a=2, b=4))
    assert [(step.shares["a"], step.shares["b"]) for step in found.steps] == [
        (0.5, 0.25),
        (1, 0.5),
        (1, 0.75),
        (1, 1),
    ]


@pytest.mark.parametrize(
    ("size", "total", "counts"),
    [
        (percent(33), 3, [1, 2, 3]),
        (percent(5), 4, [1, 2, 3, 4]),
        (percent(50), 3, [1, 2, 3]),
        (instances(2), 5, [2, 4, 5]),
        (percent(50), 1, [1]),
    ],
)
def test_rolling_batches_are_whole_instances(
    size: dict[str, Any], total: int, counts: list[int]
) -> None:
    rolling = {"MaximumBatchSize": size, "WaitIntervalInSeconds": 7}
    alarms = {"Alarms": [{"AlarmName": "x"}, {"AlarmName": "y"}]}
    deployment = {"RollingUpdatePolicy": rolling, "AutoRollbackConfiguration": alarms}
    found = plan.make_plan(deployment, config(a=total))
    assert [step.counts["a"] for step in found.steps] == counts
    assert [step.shares["a"] for step in found.steps] == [count / total for count in counts]
    assert {step.wait_s for step in found.steps} == {7}
    assert (found.is_rolling, found.rollback_size, found.alarms) == (True, None, ("x", "y"))
