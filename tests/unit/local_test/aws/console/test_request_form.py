"""The playground's form follows the endpoint's own description, or the requests seen."""

from __future__ import annotations

import json
from typing import Any

import pytest

from container.serving import openapi
from local_test.aws.account.account import Account
from local_test.aws.account.kinds import ENDPOINT
from local_test.aws.console.request_form import find_shape, list_accepts, list_types, make_form


def describe(shape: tuple[int, int, int] | None) -> Any:
    """Return the document of the bundled server, as it arrives."""
    return json.loads(json.dumps(openapi.describe(shape, range(10))))


@pytest.mark.parametrize("shape", [(28, 28, 1), (32, 48, 3), (1, 1, 3)])
def test_the_bundled_server_says_its_shape_and_types(shape: tuple[int, int, int]) -> None:
    document = describe(shape)
    assert find_shape(document) == list(shape)
    assert list_types(document)[:2] == ["text/csv", "application/json"]
    assert "image/png" in list_types(document)
    assert "application/json" in list_accepts(document)


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        "text",
        {},
        {"paths": []},
        {"paths": {"/invocations": {"post": {"requestBody": {"content": ["a/b"]}}}}},
        {"components": {"schemas": {"A": {"type": "array", "minItems": True, "items": None}}}},
    ],
)
def test_a_document_of_another_form_says_nothing(document: Any) -> None:
    assert find_shape(document) is None
    assert list_types(document) == []
    assert list_accepts(document) == []


def nest(*lengths: int, **changes: Any) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "number"}
    for length in reversed(lengths):
        schema = {"type": "array", "items": schema, "minItems": length, "maxItems": length}
    return {"components": {"schemas": {"Image": schema | changes}}}


def test_only_pictures_that_can_be_drawn_have_a_shape() -> None:
    assert find_shape(nest(8, 9, 3)) == [8, 9, 3]
    assert find_shape(nest(8, 9, 4)) is None
    assert find_shape(nest(8, 9)) is None
    assert find_shape(nest(1, 8, 9, 3)) == [8, 9, 3]  # the items of a batch of one
    assert find_shape(nest(8, 9, 3, maxItems=9)) is None
    assert find_shape(nest(2000, 9, 3)) is None


def test_user_code_that_takes_anything_has_no_types_but_those_seen(account: Account) -> None:
    assert list_types(describe(None)) == []
    record: dict[str, Any] = {
        "EndpointName": "e",
        "_requests": {"models": {"m": {"PrimaryContainer": {"Mode": "MultiModel"}}}},
    }
    account.store.insert(ENDPOINT, "e", {**record, "CreationTime": 1.7e9})
    form = make_form(account, record)  # type: ignore[arg-type]
    assert (form["types"], form["examples"], form["has_models"]) == ([], [], True)
    meter = account.meter("e")
    meter.keep("text/csv", "", b"1,2")
    meter.keep("image/png", "text/csv", b"\x89PNG")
    meter.keep("text/csv", "", b"3,4")
    meter.keep("application/json", "", b"1" * 100_000)
    form = make_form(account, record)  # type: ignore[arg-type]
    assert form["types"] == ["application/json", "text/csv", "image/png"]
    assert form["accepts"] == ["text/csv"]
    assert form["examples"] == [
        {"type": "application/json", "accept": "", "text": None},
        {"type": "text/csv", "accept": "", "text": "3,4"},
        {"type": "image/png", "accept": "text/csv", "text": None},
    ]
    for number in range(9):
        meter.keep(f"text/{number}", "", b"")
    assert [item.content_type for item in meter.examples()] == [
        f"text/{n}" for n in range(8, 3, -1)
    ]
