"""Definitions of pipelines: what is taken, what is refused, what waits for what."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from container.errors import UserError
from local_test.aws.sagemaker.pipelines import definition, structure


def make_step(name: str, kind: str = "Training", **members: Any) -> dict[str, Any]:
    return {"Name": name, "Type": kind, "Arguments": {}, **members}


def read(*steps: Any, **members: Any) -> definition.Definition:
    return definition.read(json.dumps({"Steps": list(steps), **members}))


def make_gate(name: str, if_steps: list[Any], else_steps: list[Any]) -> dict[str, Any]:
    condition = {"Type": "Equals", "LeftValue": {"Get": "Steps.a.X"}, "RightValue": 1}
    arguments = {"Conditions": [condition], "IfSteps": if_steps, "ElseSteps": else_steps}
    return make_step(name, "Condition", Arguments=arguments)


def test_a_step_waits_for_what_it_names_refers_to_and_is_inside_of() -> None:
    join = {"Std:Join": {"On": "/", "Values": ["x", {"Get": "Steps.a.Model['y'].Z"}]}}
    inner = make_gate("inner", [make_step("d")], [])
    found = read(
        make_step("a"),
        make_step("b", Arguments={"Path": join}),
        make_gate("gate", [make_step("c", DependsOn=["b"]), inner], [make_step("e", "Fail")]),
    )
    assert {name: sorted(step.needs) for name, step in found.steps.items()} == {
        "a": [],
        "b": ["a"],
        "gate": ["a"],
        "c": ["b", "gate"],
        "inner": ["a", "gate"],
        "d": ["inner"],
        "e": ["gate"],
    }
    assert found.members("gate") == ["c", "inner", "d", "e"]
    assert found.steps["e"].branch == ("gate", False)


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ([make_step("a"), make_step("a")], "two steps are named 'a'"),
        ([make_step("a", "EMR")], "'EMR', which is not emulated; choose one of Training"),
        ([make_step("a b")], "cannot name a step"),
        ([make_step("a", DependsOn=["z"])], "the step 'z', which does not exist"),
        ([make_step("a", Arguments={"x": {"Get": "Parameters.P"}})], "the parameter 'P', which"),
        (
            [make_step("a", DependsOn=["b"]), make_step("b", DependsOn=["a"])],
            "the steps wait for each other",
        ),
        ([make_gate("g", [make_step("a", DependsOn=["g"])], [])], "wait for each other"),
        (
            [make_step("c", "Condition", Arguments={"Conditions": [{"Type": "Like"}]})],
            "has no LeftValue",
        ),
        ([make_step("a", RetryPolicies=[{}])], "RetryPolicies, which are not emulated"),
        ([make_step("a", CacheConfig={"ExpireAfter": "x"})], "'x' is not a duration"),
        ([1], "a step must be an object"),
        ([{"Name": "a", "Type": "Training"}], "has no Arguments"),
        ([make_step("a", DependsOn="b")], "DependsOn of step 'a' must be a list"),
    ],
)
def test_what_is_wrong_is_named(steps: list[Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        read(*steps)


@pytest.mark.parametrize("text", ["", "[]", "1", "{}", '{"Steps": 1}', "[" * 5000])
def test_what_is_no_definition_is_refused(text: str) -> None:
    with pytest.raises(UserError):
        definition.read(text)


PARTS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["Steps", "Name", "Type", "Arguments", "Conditions", "IfSteps", "Condition", "Get"]
            ),
            inner | st.sampled_from(["Condition", "Or", "Not", "In", "Training"]),
            max_size=5,
        )
    ),
    max_leaves=20,
)


@given(st.lists(PARTS, max_size=3), PARTS)
def test_any_json_is_read_or_refused(steps: list[Any], parameters: Any) -> None:
    document = {"Steps": steps, "Parameters": parameters}
    with contextlib.suppress(UserError):  # and nothing else
        definition.read(json.dumps(document))
    assert all(isinstance(fault, str) for fault in structure.find_faults(document))


PARAMETERS = [
    {"Name": "text", "Type": "String", "DefaultValue": "a", "EnumValues": ["a", "b"]},
    {"Name": "count", "Type": "Integer", "DefaultValue": 1},
    {"Name": "share", "Type": "Float", "DefaultValue": 0.5},
    {"Name": "flag", "Type": "Boolean", "DefaultValue": False},
    {"Name": "needed", "Type": "String"},
]


def test_parameters_have_their_types() -> None:
    found = read(Parameters=PARAMETERS)
    given_values = {"needed": "x", "count": "3", "share": "0.25", "flag": "True"}
    assert found.bind(given_values) == {
        "text": "a",
        "count": 3,
        "share": 0.25,
        "flag": True,
        "needed": "x",
    }


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("text", "c", "must be one of"),
        ("count", "1.5", "is Integer; found '1.5'"),
        ("share", "x", "is Float"),
        ("flag", "yes", "is Boolean"),
        ("other", "x", "unknown parameter 'other'; choose one of text, count"),
    ],
)
def test_a_wrong_parameter_is_refused(name: str, value: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read(Parameters=PARAMETERS).bind({"needed": "x", name: value})
    with pytest.raises(UserError, match="'needed' has no default value"):
        read(Parameters=PARAMETERS).bind({})
