"""What scaling policies say: what of it is emulated, and the counts that they want.

Source: Application Auto Scaling User Guide, `target-tracking-scaling-policy-overview` and
`step-scaling-policy-overview`.
"""

import itertools
import json
import math
from collections.abc import Mapping
from typing import Any, Final

from local_test.aws.protocol.messages import reject

STEPS: Final = "StepScalingPolicyConfiguration"
TRACKING: Final = "TargetTrackingScalingPolicyConfiguration"
_CONFIGURATIONS: Final = {"TargetTrackingScaling": TRACKING, "StepScaling": STEPS}
_ADJUSTMENTS: Final = ("ChangeInCapacity", "ExactCapacity")
_COOLDOWN_S: Final = 300  # the service's default
_REPEAT_S: Final = 60  # an alarm that stays in ALARM state starts its policy again
_SLACK: Final = 0.9  # instances are removed only if the rest stay below this share of the target


def check(request: Mapping[str, Any], metric: Mapping[str, Any]) -> str:
    """Return the member of PutScalingPolicy that has the policy; `metric` is what can be tracked.

    Raises: AwsError for what is not emulated.
    """
    member = _CONFIGURATIONS.get(request.get("PolicyType", ""))
    if member is None or member not in request:
        reject(
            "The local AWS emulates PolicyType TargetTrackingScaling or StepScaling with its "
            "configuration."
        )
    others = {name for name in request if name.endswith("PolicyConfiguration")} - {member}
    if others:
        reject(f"{', '.join(sorted(others))} cannot be with {member}; leave it out.")
    if member == STEPS:
        _check_steps(request[STEPS])
        return member
    tracking = request[TRACKING]
    given = {key: tracking[key] for key in tracking if key.endswith("MetricSpecification")}
    if given != metric:
        message = "The local AWS emulates the metric {} here; found {}."
        reject(message.format(json.dumps(metric), json.dumps(given)))
    if tracking["TargetValue"] <= 0:
        reject("TargetValue must be greater than 0")
    return member


def _check_steps(steps: Mapping[str, Any]) -> None:
    kind = steps.get("AdjustmentType")
    if kind not in _ADJUSTMENTS or "MinAdjustmentMagnitude" in steps:
        reject(
            f"The local AWS emulates AdjustmentType {' and '.join(_ADJUSTMENTS)}, without "
            f"MinAdjustmentMagnitude; found {kind}."
        )
    if (aggregation := steps.get("MetricAggregationType", "Average")) != "Average":
        reject(f"The local AWS emulates MetricAggregationType Average; found {aggregation}.")
    bounds = sorted(_read_bounds(step) for step in steps.get("StepAdjustments", ()))
    is_wrong = any(lower >= upper for lower, upper in bounds)
    if not bounds or is_wrong or any(one[1] != two[0] for one, two in itertools.pairwise(bounds)):
        reject(
            "StepAdjustments must be one or more intervals without gaps and overlaps, each from "
            f"MetricIntervalLowerBound to a greater MetricIntervalUpperBound; found {bounds}."
        )


def _read_bounds(step: Mapping[str, Any]) -> tuple[float, float]:
    lower = step.get("MetricIntervalLowerBound", -math.inf)
    return lower, step.get("MetricIntervalUpperBound", math.inf)


def track(current: int, load: float, tracking: Mapping[str, Any]) -> int:
    """Return the count for a load of all instances together.

    From zero, instances are added only if the load is above the target.
    """
    target: float = tracking["TargetValue"]
    if load > target * max(1, current):
        return math.ceil(load / target)
    if tracking.get("DisableScaleIn", False):
        return current
    return min(current, math.ceil(load / (target * _SLACK)))


def step(current: int, excess: float, steps: Mapping[str, Any]) -> int:
    """Return the count for a metric that is beyond the threshold of its alarm by `excess`."""
    for item in steps["StepAdjustments"]:
        lower, upper = _read_bounds(item)
        is_inside = lower <= excess < upper if excess >= 0 else lower < excess <= upper
        if is_inside:
            change: int = item["ScalingAdjustment"]
            return change if steps["AdjustmentType"] == "ExactCapacity" else current + change
    return current


def find_cooldown_s(policy: Mapping[str, Any], direction: str) -> float:
    """Return how long a policy does not add (`Out`) or remove (`In`) again."""
    if STEPS in policy:
        return float(max(_REPEAT_S, policy[STEPS].get("Cooldown", _COOLDOWN_S)))
    return float(policy[TRACKING].get(f"Scale{direction}Cooldown", _COOLDOWN_S))
