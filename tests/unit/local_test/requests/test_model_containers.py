"""The containers of a model, and the rules of several."""

from __future__ import annotations

from typing import Any

import pytest

from local_test.requests import model_containers
from local_test.requests.treatments import treat

TWO = [{"Image": "i"}, {"Image": "j"}]


def name(*names: str, **first: Any) -> list[dict[str, Any]]:
    found = [{"Image": "i", "ContainerHostname": item} for item in names]
    return [{**found[0], **first}, *found[1:]]


def test_containers_have_the_names_that_the_service_gives_them() -> None:
    def names(model: dict[str, Any]) -> list[str]:
        return [item.name for item in model_containers.list_containers(model)]

    assert names({"PrimaryContainer": {"Image": "i"}}) == [""]
    assert names({"Containers": [{"Image": "i"}]}) == [""]
    assert names({"Containers": TWO}) == ["container-1", "container-2"]
    assert names({"Containers": name("a", "b")}) == ["a", "b"]


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ({"PrimaryContainer": {}}, ""),
        ({"Containers": TWO}, ""),
        ({"Containers": TWO * 8}, "at most 15, found 16"),
        ({"Containers": name("a", "a")}, "must be unique"),
        ({"Containers": [*name("a"), {"Image": "j"}]}, "1 of 2 have a ContainerHostname"),
        ({"Containers": [{}, {"Image": "j"}]}, "container-1: Image is required"),
        (
            {"Containers": [{"Image": "i", "Mode": "MultiModel"}] * 2},
            "at most one of several can have Mode MultiModel",
        ),
        (
            {"Containers": TWO, "InferenceExecutionConfig": {"Mode": "Direct"}},
            "0 of 2 have a ContainerHostname",
        ),
        ({"Containers": name("a", "b"), "InferenceExecutionConfig": {"Mode": "Direct"}}, ""),
        (
            {"PrimaryContainer": {}, "InferenceExecutionConfig": {"Mode": "Direct"}},
            "for a model of 2 to 15 Containers, found a PrimaryContainer",
        ),
    ],
)
def test_the_rules_of_several_containers(model: dict[str, Any], expected: str) -> None:
    faults = model_containers.find_faults(model)

    assert len(faults) == bool(expected)
    assert expected in "".join(faults)


def test_a_transform_job_names_neither_a_container_nor_a_model() -> None:
    direct = {"Containers": name("a", "b"), "InferenceExecutionConfig": {"Mode": "Direct"}}
    multi = {"PrimaryContainer": {"Image": "i", "Mode": "MultiModel"}}

    assert "found Direct" in model_containers.find_transform_fault(direct)
    assert "found MultiModel" in model_containers.find_transform_fault(multi)
    assert not model_containers.find_transform_fault({"Containers": TWO})


def test_what_is_refused_of_one_container_is_refused_of_several() -> None:
    refused = {"AdditionalModelDataSources": [{"ChannelName": "c"}]}
    for request in ({"PrimaryContainer": refused}, {"Containers": [refused, refused]}):
        assert {item.kind for item in treat("CreateModel", request).values()} == {"refused"}
