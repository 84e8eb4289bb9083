"""What the scaler decides; no process, no network."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local_test.aws.sagemaker import autoscaling


@pytest.mark.parametrize(
    ("current", "load", "wanted"),
    [
        (1, 0, 1),  # nothing to take away
        (1, 100, 1),  # just at the target
        (1, 101, 2),
        (1, 1000, 4),  # no more than the greatest capacity
        (4, 0, 1),
        (3, 195, 3),  # two would be nearly full: they stay
        (3, 150, 2),
    ],
)
def test_target_tracking_follows_the_load(current: int, load: float, wanted: int) -> None:
    assert autoscaling.decide(current, load, {"TargetValue": 100.0}, 1, 4) == wanted


def test_disabled_scale_in_keeps_what_is_there() -> None:
    assert autoscaling.decide(4, 0, {"TargetValue": 100.0, "DisableScaleIn": True}, 1, 4) == 4


@given(
    st.integers(1, 10), st.floats(0, 1e5), st.floats(0.1, 1e4), st.integers(1, 5), st.integers(0, 5)
)
def test_the_decision_keeps_to_the_capacities(
    current: int, load: float, target: float, least: int, extra: int
) -> None:
    assert (
        least
        <= autoscaling.decide(current, load, {"TargetValue": target}, least, least + extra)
        <= least + extra
    )
