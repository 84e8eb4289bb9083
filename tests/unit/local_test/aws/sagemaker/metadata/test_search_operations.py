"""How Search compares values; no process, no network."""

from __future__ import annotations

import pytest

from local_test.aws.sagemaker.metadata import search_operations


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
    assert search_operations.matches({"Filters": [condition]}, record) is is_found


def test_nested_filters_hold_for_one_and_the_same_entry() -> None:
    metrics = [{"MetricName": "loss", "Value": 0.9}, {"MetricName": "accuracy", "Value": 0.2}]

    def search(value: str) -> bool:
        filters = [
            {"Name": "FinalMetricDataList.MetricName", "Operator": "Equals", "Value": "accuracy"},
            {"Name": "FinalMetricDataList.Value", "Operator": "GreaterThan", "Value": value},
        ]
        nested = {"NestedPropertyName": "FinalMetricDataList", "Filters": filters}
        return search_operations.matches(
            {"NestedFilters": [nested]}, {"FinalMetricDataList": metrics}
        )

    assert search("0.1")
    assert not search("0.5")
