"""What is refused of an inference component, and what an update leaves as it is."""

from __future__ import annotations

from typing import Any

import pytest

from local_test.requests import component_rules

NEEDS = {"ComputeResourceRequirements": {"MinMemoryRequiredInMb": 256}}


@pytest.mark.parametrize(
    ("specification", "expected"),
    [
        ({"ModelName": "m", **NEEDS}, ""),
        ({"Container": {"Image": "i"}, **NEEDS}, ""),
        (NEEDS, "exactly one of ModelName and Container is required, found neither"),
        ({"ModelName": "m", "Container": {"Image": "i"}, **NEEDS}, "found both"),
        ({"Container": {"ArtifactUrl": "s3://b/k"}, **NEEDS}, "Container.Image: is required"),
        ({"ModelName": "m"}, "ComputeResourceRequirements: is required"),
        (
            {
                "ModelName": "m",
                "ComputeResourceRequirements": {
                    "MinMemoryRequiredInMb": 512,
                    "MaxMemoryRequiredInMb": 256,
                },
            },
            "must be at least MinMemoryRequiredInMb, 512, found 256",
        ),
    ],
)
def test_the_rules_of_a_specification(specification: dict[str, Any], expected: str) -> None:
    faults = component_rules.find_faults({"Specification": specification})

    assert len(faults) == bool(expected)
    assert expected in "".join(faults)


def test_a_request_that_says_nothing_is_refused() -> None:
    assert component_rules.find_faults({}) == ["Specification: is required"]
    (fault,) = component_rules.find_update_faults({"InferenceComponentName": "c"})
    assert fault.startswith("Specification or RuntimeConfig")
    assert component_rules.find_update_faults({"RuntimeConfig": {"CopyCount": 0}}) == []


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ({"PrimaryContainer": {"Image": "i"}}, ""),
        ({"Containers": [{"Image": "i"}] * 2}, "a model of one container, found 2"),
        ({"PrimaryContainer": {"Image": "i", "Mode": "MultiModel"}}, "found MultiModel"),
    ],
)
def test_the_models_that_a_component_takes(model: dict[str, Any], expected: str) -> None:
    fault = component_rules.find_model_fault(model)

    assert bool(fault) == bool(expected)
    assert expected in fault


@pytest.mark.parametrize(
    ("new", "expected"),
    [
        ({}, {"Container": {"Image": "i", "Environment": {"A": "1"}}, **NEEDS}),
        (
            {"Container": {"Environment": {"A": "2"}}},
            {"Container": {"Image": "i", "Environment": {"A": "2"}}, **NEEDS},
        ),
        ({"ModelName": "m"}, {"ModelName": "m", **NEEDS}),
        (
            {"ComputeResourceRequirements": {"MinMemoryRequiredInMb": 128}},
            {
                "Container": {"Image": "i", "Environment": {"A": "1"}},
                "ComputeResourceRequirements": {"MinMemoryRequiredInMb": 128},
            },
        ),
    ],
)
def test_an_update_keeps_what_it_does_not_name(
    new: dict[str, Any], expected: dict[str, Any]
) -> None:
    old = {"Container": {"Image": "i", "Environment": {"A": "1"}}, **NEEDS}
    assert component_rules.merge(old, new) == expected


def test_a_container_of_its_own_is_a_model() -> None:
    container = {"Image": "i", "ArtifactUrl": "s3://b/k", "Environment": {"A": "1"}}
    primary = {"Image": "i", "ModelDataUrl": "s3://b/k", "Environment": {"A": "1"}}
    assert component_rules.make_model("c", container) == {
        "ModelName": "c",
        "PrimaryContainer": primary,
    }
    assert component_rules.make_model("c", {"Image": "i"})["PrimaryContainer"] == {"Image": "i"}
