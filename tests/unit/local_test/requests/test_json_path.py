"""The paths of batch transform's filters."""

from __future__ import annotations

from typing import Any

import pytest

from container.errors import UserError
from local_test.requests import json_path


@pytest.mark.parametrize(
    ("path", "value", "selected"),
    [
        ("$", [1], [1]),
        ("$.a", {"a": 1}, 1),
        ("$['a','b']", {"a": 1, "b": 2}, [1, 2]),
        ("$[0]", [5, 6], 5),
        ("$[1,-1]", [5, 6, 7], [6, 7]),
        ("$[1:]", [5, 6, 7], [6, 7]),
        ("$[:-1]", [5, 6, 7], [5, 6]),
        ("$.*", {"a": 1, "b": 2}, [1, 2]),
        ("$.a[0].b", {"a": [{"b": 3}]}, 3),
        ("$.a[*]", {"a": [1, 2]}, [1, 2]),
    ],
)
def test_a_path_selects(path: str, value: Any, selected: Any) -> None:
    assert json_path.select(value, json_path.parse(path)) == selected  # BT-12


@pytest.mark.parametrize("path", ["a", "$.", "$[", "$[a]", "$..a", "$[?(@.a)]", "$." + "a" * 63])
def test_a_wrong_path_is_refused(path: str) -> None:
    with pytest.raises(UserError):
        json_path.parse(path)


@pytest.mark.parametrize("path", ["$['a_b']", "$['a','b_c']", "$['_']", "$.a['b_c']"])
def test_an_underscore_in_brackets_is_refused_as_on_aws(path: str) -> None:
    with pytest.raises(UserError, match="a name in brackets has no underscore"):
        json_path.parse(path)
    assert json_path.parse("$.a_b") == [["a_b"]]


def test_a_path_that_finds_nothing_is_told() -> None:
    with pytest.raises(UserError, match="finds no"):
        json_path.select({"a": 1}, json_path.parse("$.b"))
