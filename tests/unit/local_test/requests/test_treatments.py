"""The table of what happens to each field."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from local_test.requests import shapes, treatments


@pytest.mark.parametrize("operation", sorted(treatments.TREATMENTS))
def test_every_field_of_the_api_has_a_treatment(operation: str) -> None:
    shape = shapes.find_input_shape(operation)

    assert set(shape.members) == {
        path for path in treatments.TREATMENTS[operation] if "." not in path and "[" not in path
    }


@pytest.mark.parametrize("operation", sorted(treatments.TREATMENTS))
def test_every_treated_path_exists_in_the_api(operation: str) -> None:
    top = shapes.find_input_shape(operation)
    for path in treatments.TREATMENTS[operation]:
        shape = top
        for part in path.split("."):
            name = part.removesuffix("[]")
            assert name in shape.members, path
            shape = shape.members[name]
            if part.endswith("[]"):
                shape = shape.member


@pytest.mark.parametrize("operation", sorted(treatments.TREATMENTS))
def test_nothing_is_emulated_because_its_parent_is(operation: str) -> None:
    table = treatments.TREATMENTS[operation]
    silent = []
    for path in list_leaves(shapes.find_input_shape(operation), ""):
        owner = path
        while owner not in table:
            owner = owner[:-2] if owner.endswith("[]") else owner.rpartition(".")[0]
        if table[owner].kind == "emulated" and path.removesuffix("[]") != owner:
            silent.append(path)
    assert silent == []


def list_leaves(shape: Any, path: str) -> Iterator[str]:
    """Yield the paths of a shape's last fields; a map is one, since its keys are the user's."""
    if shape.type_name == "structure":
        for name, member in shape.members.items():
            yield from list_leaves(member, f"{path}.{name}" if path else name)
    elif shape.type_name == "list":
        yield from list_leaves(shape.member, f"{path}[]")
    else:
        yield path


def test_a_field_that_the_table_does_not_know_is_refused() -> None:
    request = {"ResourceConfig": {"InstanceCount": 1, "Sails": 3}, "HyperParameters": {"x": "1"}}
    found = treatments.treat("CreateTrainingJob", request)
    assert found["ResourceConfig.Sails"].kind == "refused"
    assert found["ResourceConfig.InstanceCount"].kind == "emulated"
    assert found["HyperParameters"].kind == "emulated"
    empty = {"ResourceConfig": {"InstanceGroups": []}, "InputDataConfig": []}
    kinds = {item.kind for item in treatments.treat("CreateTrainingJob", empty).values()}
    assert kinds == {"emulated"}
