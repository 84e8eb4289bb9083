"""The table of what happens to each field."""

from __future__ import annotations

import pytest

from local_test.requests import shapes, treatments


@pytest.mark.parametrize("operation", sorted(treatments.TREATMENTS))
def test_every_field_of_the_api_has_a_treatment(operation: str) -> None:
    shape = shapes.input_shape(operation)

    assert set(shape.members) == {
        path for path in treatments.TREATMENTS[operation] if "." not in path and "[" not in path
    }


@pytest.mark.parametrize("operation", sorted(treatments.TREATMENTS))
def test_every_treated_path_exists_in_the_api(operation: str) -> None:
    top = shapes.input_shape(operation)
    for path in treatments.TREATMENTS[operation]:
        shape = top
        for part in path.split("."):
            name = part.removesuffix("[]")
            assert name in shape.members, path
            shape = shape.members[name]
            if part.endswith("[]"):
                shape = shape.member
