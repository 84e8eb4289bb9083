"""What the scaler of the local AWS decides, and how a search compares; no process, no network."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local_test.aws.account import logs
from local_test.aws.protocol.messages import AwsError
from local_test.aws.sagemaker import autoscaling, search_operations


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


@pytest.mark.parametrize(
    ("name", "operator", "value", "is_found"),
    [
        ("HyperParameters.epochs", "Equals", "10", True),
        ("HyperParameters.epochs", "GreaterThan", "9", True),  # as numbers, not as texts
        ("HyperParameters.epochs", "LessThan", "9", False),
        ("Tags.team", "Equals", "digits", True),
        ("TrainingJobName", "Contains", "NIGHT", True),
        ("FailureReason", "NotExists", None, True),
        ("CreationTime", "GreaterThan", "2020-01-01T00:00:00Z", True),
        ("TrainingJobStatus", "In", "Failed, Completed", True),
        ("TrainingJobStatus", "NotEquals", "Completed", False),
        ("_request", "Exists", None, False),
    ],
)
def test_a_filter_compares_as_the_service_does(
    name: str, operator: str, value: str | None, *, is_found: bool
) -> None:
    record = {
        "TrainingJobName": "nightly",
        "TrainingJobStatus": "Completed",
        "HyperParameters": {"epochs": "10"},
        "Tags": [{"Key": "team", "Value": "digits"}],
        "CreationTime": 1.7e9,
        "_request": {},
    }
    condition = {
        "Name": name,
        "Operator": operator,
        **({"Value": value} if value is not None else {}),
    }
    assert search_operations._matches({"Filters": [condition]}, record) is is_found  # noqa: SLF001 - the pure part of Search


def test_nested_filters_hold_for_one_and_the_same_entry() -> None:
    metrics = [{"MetricName": "loss", "Value": 0.9}, {"MetricName": "accuracy", "Value": 0.2}]

    def search(value: str) -> bool:
        filters = [
            {"Name": "FinalMetricDataList.MetricName", "Operator": "Equals", "Value": "accuracy"},
            {"Name": "FinalMetricDataList.Value", "Operator": "GreaterThan", "Value": value},
        ]
        nested = {"NestedPropertyName": "FinalMetricDataList", "Filters": filters}
        return search_operations._matches(  # noqa: SLF001
            {"NestedFilters": [nested]}, {"FinalMetricDataList": metrics}
        )

    assert search("0.1")
    assert not search("0.5")


@pytest.mark.parametrize(
    ("pattern", "is_found"),
    [
        ("", True),
        ("epoch", True),
        ('"epoch=1; loss"', True),
        ("epoch missing", False),
        ("?missing ?loss", True),
        ("epoch -loss", False),
    ],
)
def test_log_filters_take_terms_as_the_service_does(pattern: str, *, is_found: bool) -> None:
    assert logs._compile_filter(pattern)("epoch=1; loss=2") is is_found  # noqa: SLF001 - the pure part of FilterLogEvents


def test_a_log_filter_that_is_not_emulated_says_so() -> None:
    with pytest.raises(AwsError, match="not emulated"):
        logs._compile_filter("{ $.level = 1 }")  # noqa: SLF001
