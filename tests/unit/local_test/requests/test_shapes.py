"""Requests are read by the services' own shapes; what is wrong comes as data."""

from __future__ import annotations

from typing import Any

import pytest

from local_test.requests import shapes
from local_test.requests.shapes import Fault, Step

EPOCHS = (Step("member", "HyperParameters"), Step("value", "epochs"))


def list_patterns(shape: Any, seen: set[str]) -> set[str]:
    """Return every pattern below a shape."""
    if shape.name in seen:
        return set()
    seen.add(shape.name)
    if shape.type_name == "map":
        return list_patterns(shape.key, seen) | list_patterns(shape.value, seen)
    found = {shape.metadata["pattern"]} if "pattern" in shape.metadata else set()
    inner = [shape.member] if shape.type_name == "list" else getattr(shape, "members", {}).values()
    return found.union(*(list_patterns(item, seen) for item in inner))


@pytest.mark.parametrize(
    "service",
    ["sagemaker", "application-autoscaling", "logs", "sagemaker-metrics", "sagemaker-runtime"],
)
def test_every_pattern_of_the_services_is_understood(service: str) -> None:
    model = shapes.service_model(service)
    seen: set[str] = set()
    for operation in model.operation_names:
        shape = model.operation_model(operation).input_shape
        for pattern in list_patterns(shape, seen) if shape else ():
            shapes.compile_pattern(pattern)


def test_a_fault_is_data() -> None:
    request = {"HyperParameters": {"epochs": 3}, "Tags": [{"Key": "a"}], "Nothing": None}
    _, faults = shapes.read(shapes.input_shape("CreateTrainingJob"), request)

    assert Fault(EPOCHS, "type", 3, "string") in faults
    tag = (Step("member", "Tags"), Step("item", 0), Step("member", "Value"))
    assert Fault(tag, "required", None) in faults
    assert {fault.rule for fault in faults} == {"type", "required", "unknown"}


def test_null_means_absent_unless_a_person_wrote_it() -> None:
    shape = shapes.input_shape("ListTrainingJobs")

    assert shapes.read(shape, {"MaxResults": None}) == ({}, [])
    assert shapes.read(shape, {"MaxResults": None}, is_handwritten=True)[1] == [
        Fault((Step("member", "MaxResults"),), "type", None, "integer")
    ]


def test_times_are_seconds() -> None:
    shape = shapes.input_shape("ListTrainingJobs")

    value, faults = shapes.read(shape, {"CreationTimeAfter": "1970-01-01T00:01:00Z"})
    assert (value, faults) == ({"CreationTimeAfter": 60.0}, [])
    assert shapes.read(shape, {"CreationTimeAfter": "soon"})[1][0].rule == "type"


def test_a_number_beyond_32_bits_is_a_fault() -> None:
    _, faults = shapes.read(shapes.input_shape("ListTrainingJobs"), {"MaxResults": 2**31})

    assert [fault.rule for fault in faults] == ["32 bits"]


@pytest.mark.parametrize("number", [float("inf"), -float("inf"), 10**400])
def test_a_number_beyond_64_bits_is_a_fault(number: float) -> None:
    request = {"DesiredWeightsAndCapacities": [{"VariantName": "v", "DesiredWeight": number}]}
    shape = shapes.input_shape("UpdateEndpointWeightsAndCapacities")
    _, faults = shapes.read(shape, {"EndpointName": "e", **request})
    assert [fault.rule for fault in faults] == ["64 bits"]
