"""The steps in which an update moves the traffic of an endpoint to its new servers.

A step turns on a part of the new fleet and lasts until its wait is over. Only the fleet's capacity
is counted in instances, which are whole; a share that is given in percent is exact.

Source: API `DeploymentConfig`; Guide `deployment-guardrails`.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

_PERCENT: Final = "CAPACITY_PERCENT"
_SLACK: Final = 0.1  # of a step: a last one that is smaller is part of the one before


@dataclass(frozen=True)
class Step:
    """A part of a deployment, in which the traffic does not change."""

    counts: Mapping[str, int]
    """Instances of the new fleet that have traffic, by variant."""
    shares: Mapping[str, float]
    """Share of the requests that the new fleet gets, in (0, 1], by variant."""
    capacity: str
    """What the API's messages call it, such as `canary capacity`."""
    wait_s: int
    wait_field: str
    """The field that sets `wait_s`."""

    @property
    def is_full(self) -> bool:
        """Whether the new fleet has all traffic."""
        return min(self.shares.values()) >= 1

    @property
    def instances(self) -> int:
        """How many instances have traffic in all."""
        return sum(self.counts.values())


@dataclass(frozen=True)
class Plan:
    """What a deployment does, step by step."""

    steps: tuple[Step, ...]
    timeout_s: float
    """For the entire deployment; infinite if the request sets none."""
    alarms: tuple[str, ...]
    """Names of the CloudWatch alarms that end it."""
    is_rolling: bool = False
    """Whether each step starts its instances, and ends as many of the old fleet."""
    rollback_size: Mapping[str, Any] | None = None
    """CapacitySize that a rollback of a rolling deployment starts at once; all if it is None."""

    @property
    def wait_s(self) -> int:
        """How long it waits in all."""
        return sum(step.wait_s for step in self.steps)


def make_plan(deployment: Mapping[str, Any], config: Mapping[str, Any]) -> Plan:
    """Return the plan for a DeploymentConfig and the new endpoint configuration.

    Without an update policy, and to a fleet without an instance, all traffic is shifted at once.
    """
    totals = count_instances(config)
    alarms = deployment.get("AutoRollbackConfiguration", {}).get("Alarms", ())
    names = tuple(alarm["AlarmName"] for alarm in alarms)
    rolling = deployment.get("RollingUpdatePolicy")
    policy = rolling or deployment.get("BlueGreenUpdatePolicy", {})
    timeout_s = policy.get("MaximumExecutionTimeoutInSeconds", math.inf)
    if not any(totals.values()):
        return Plan(_list_blue_green({}, totals), timeout_s, names)
    if rolling is None:
        return Plan(_list_blue_green(policy, totals), timeout_s, names)
    return Plan(
        _list_rolling(rolling, totals),
        timeout_s,
        names,
        is_rolling=True,
        rollback_size=rolling.get("RollbackMaximumBatchSize"),
    )


def count_instances(config: Mapping[str, Any]) -> dict[str, int]:
    """Return the instances of each production variant of an endpoint configuration."""
    return {
        variant["VariantName"]: variant.get("InitialInstanceCount", 1)
        for variant in config["ProductionVariants"]
    }


def count(size: Mapping[str, Any], total: int, steps: int = 1) -> int:
    """Return the instances of some steps of a CapacitySize, of `total` instances."""
    value: int = size["Value"]
    if size["Type"] != _PERCENT:
        return min(total, value * steps)
    percent = value * steps
    found = max(1, round(total * percent / 100))
    if percent <= 50:  # half of three instances is one, and of one instance is one, too
        found = min(found, max(1, total // 2))
    return min(total, found)


def share(size: Mapping[str, Any], total: int, steps: int = 1) -> float:
    """Return the share of the requests that some steps of a CapacitySize turn on."""
    whole = 100 if size["Type"] == _PERCENT else total
    found: float = size["Value"] * steps / whole
    return min(1.0, found)


def _list_blue_green(policy: Mapping[str, Any], totals: Mapping[str, int]) -> tuple[Step, ...]:
    routing = policy.get("TrafficRoutingConfiguration", {"Type": "ALL_AT_ONCE"})
    last = Step(
        totals,
        dict.fromkeys(totals, 1.0),
        "full capacity",
        policy.get("TerminationWaitInSeconds", 0),
        "TerminationWaitInSeconds",
    )
    if routing["Type"] == "CANARY":
        return (_make_step(routing["CanarySize"], totals, 1, routing, "canary capacity"), last)
    if routing["Type"] == "LINEAR":
        size = routing["LinearStepSize"]
        numbers = range(1, _count_steps(size, totals))
        steps = [_make_step(size, totals, number, routing, "linear step") for number in numbers]
        return (*steps, last)
    return (last,)


def _list_rolling(policy: Mapping[str, Any], totals: Mapping[str, int]) -> tuple[Step, ...]:
    (name,) = totals
    total = totals[name]
    batch = count(policy["MaximumBatchSize"], total)
    size = {"Type": "INSTANCE_COUNT", "Value": batch}
    numbers = range(1, math.ceil(total / batch) + 1)
    return tuple(_make_step(size, totals, number, policy, "rolling batch") for number in numbers)


def _make_step(
    size: Mapping[str, Any],
    totals: Mapping[str, int],
    number: int,
    policy: Mapping[str, Any],
    capacity: str,
) -> Step:
    return Step(
        {name: count(size, total, number) for name, total in totals.items()},
        {name: share(size, total, number) for name, total in totals.items()},
        capacity,
        policy["WaitIntervalInSeconds"],
        "WaitIntervalInSeconds",
    )


def _count_steps(size: Mapping[str, Any], totals: Mapping[str, int]) -> int:
    """Return how many steps it takes until every variant has all traffic."""
    value: int = size["Value"]
    if size["Type"] == _PERCENT:  # three steps of 33 percent are all
        return math.ceil(100 / value - _SLACK)
    return max(math.ceil(total / value) for total in totals.values())
