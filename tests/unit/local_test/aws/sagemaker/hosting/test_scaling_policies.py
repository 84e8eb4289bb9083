"""The counts that scaling policies want, and what of them is refused."""

from __future__ import annotations

from typing import Any

import pytest

from local_test.aws.protocol.messages import AwsError
from local_test.aws.sagemaker.hosting import scaling_policies


@pytest.mark.parametrize(
    ("current", "load", "wanted"),
    [
        (1, 0, 0),
        (1, 100, 1),  # just at the target
        (1, 101, 2),
        (1, 1000, 10),
        (4, 0, 0),
        (3, 195, 3),  # two would be nearly full: they stay
        (3, 150, 2),
        (0, 100, 0),  # from zero, only above the target
        (0, 101, 2),
    ],
)
def test_target_tracking_follows_the_load(current: int, load: float, wanted: int) -> None:
    assert scaling_policies.track(current, load, {"TargetValue": 100.0}) == wanted


def test_disabled_scale_in_keeps_what_is_there() -> None:
    assert scaling_policies.track(4, 0, {"TargetValue": 100.0, "DisableScaleIn": True}) == 4


def make_steps(*steps: tuple[float | None, float | None, int], **members: Any) -> dict[str, Any]:
    names = ("MetricIntervalLowerBound", "MetricIntervalUpperBound", "ScalingAdjustment")
    adjustments = [
        {name: value for name, value in zip(names, step, strict=True) if value is not None}
        for step in steps
    ]
    return {"AdjustmentType": "ChangeInCapacity", "StepAdjustments": adjustments, **members}


@pytest.mark.parametrize(
    ("excess", "wanted"), [(0, 3), (9.9, 3), (10, 5), (99, 5), (-0.1, 1), (-5, 0), (-4.9, 1)]
)
def test_a_step_is_chosen_by_how_far_the_metric_is_beyond_the_threshold(
    excess: float, wanted: int
) -> None:
    steps = make_steps((None, -5, -2), (-5, 0, -1), (0, 10, 1), (10, None, 3))
    assert scaling_policies.step(2, excess, steps) == wanted


def test_a_step_may_say_the_count_itself() -> None:
    steps = make_steps((0, None, 1), AdjustmentType="ExactCapacity")
    assert (scaling_policies.step(4, 1, steps), scaling_policies.step(4, -1, steps)) == (1, 4)


@pytest.mark.parametrize(
    "steps",
    [
        make_steps(),
        make_steps((0, 1, 1), (2, 3, 1)),
        make_steps((0, 2, 1), (1, 3, 1)),
        make_steps((1, 1, 1)),
        make_steps((0, None, 1), AdjustmentType="PercentChangeInCapacity"),
        make_steps((0, None, 1), MinAdjustmentMagnitude=1),
        make_steps((0, None, 1), MetricAggregationType="Maximum"),
    ],
)
def test_steps_that_are_not_emulated_are_refused(steps: dict[str, Any]) -> None:
    request = {"PolicyType": "StepScaling", scaling_policies.STEPS: steps}
    with pytest.raises(AwsError, match=r"; found "):
        scaling_policies.check(request, {})
