"""Expressions and conditions of pipelines, and the keys of cached steps."""

from __future__ import annotations

from typing import Any

import pytest

from container.errors import UserError
from local_test.aws.sagemaker.pipelines import caching, expressions

VALUES: dict[str, Any] = {"Parameters.p": 3, "Parameters.flag": True, "Steps.a.X": "s3://b/x"}


def evaluate(value: Any) -> Any:
    return expressions.evaluate(value, VALUES.__getitem__, lambda _: {"m": [{"a b": {"v": 0.5}}]})


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"Get": "Parameters.p"}, 3),
        ({"Std:Join": {"On": "-", "Values": ["x", {"Get": "Parameters.p"}, 0.5]}}, "x-3-0.5"),
        ({"Std:Join": {"Values": [{"Get": "Parameters.flag"}]}}, "true"),
        ({"A": [{"Get": "Steps.a.X"}], "B": None}, {"A": ["s3://b/x"], "B": None}),
        ({"Std:JsonGet": {"S3Uri": "u", "Path": "m[0]['a b'].v"}}, 0.5),
        ({"Std:JsonGet": {"S3Uri": "u", "Path": "$.m[0]['a b']['v']"}}, 0.5),
        ({"Get": "Parameters.p", "Other": 1}, {"Get": "Parameters.p", "Other": 1}),
    ],
)
def test_an_expression_has_its_value(value: Any, expected: Any) -> None:
    assert evaluate(value) == expected


@pytest.mark.parametrize("path", ["n", "m[1]", "m.x", "m[0]['a b'].v.w", "m[", "m..a"])
def test_a_path_to_nothing_is_named(path: str) -> None:
    with pytest.raises(UserError, match="the JSON document"):
        evaluate({"Std:JsonGet": {"S3Uri": "u", "Path": path}})


def compare(kind: str, left: Any, right: Any) -> bool:
    condition = {"Type": kind, "LeftValue": left, "RightValue": right}
    return expressions.holds(condition, evaluate)


def test_conditions_hold_or_not() -> None:
    assert compare("Equals", {"Get": "Parameters.p"}, 3)
    assert compare("GreaterThan", 2, 1)
    assert not compare("GreaterThan", 1, 1)
    assert compare("GreaterThanOrEqualTo", 1.0, 1)
    assert compare("LessThan", 1, 2)
    assert compare("LessThanOrEqualTo", 2, 2)
    yes = {"Type": "In", "QueryValue": 3, "Values": [1, {"Get": "Parameters.p"}]}
    no = {"Type": "Not", "Condition": yes}
    assert expressions.holds(yes, evaluate)
    assert not expressions.holds(no, evaluate)
    assert expressions.holds({"Type": "Or", "Conditions": [no, yes]}, evaluate)
    with pytest.raises(UserError, match="cannot compare '3' with 2"):
        compare("LessThan", "3", 2)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("P30D", 2592000), ("30d", 2592000), ("PT1H30M", 5400), ("P1W", 604800), ("T1M", 60)],
)
def test_a_duration_is_read(text: str, seconds: float) -> None:
    assert caching.read_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "P", "30", "PT", "x", "P-1D"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="is not a duration"):
        caching.read_duration(text)


def test_the_key_of_a_step_is_what_it_asks_for_except_names() -> None:
    key = caching.make_key("Training", {"TrainingJobName": "a", "X": 1})
    assert key == caching.make_key("Training", {"X": 1, "TrainingJobName": "b"})
    assert key != caching.make_key("Training", {"X": 2})
    assert key != caching.make_key("Processing", {"X": 1})
