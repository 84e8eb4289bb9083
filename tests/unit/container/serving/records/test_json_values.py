"""What JSON cannot hold."""

import itertools
import json
import math
from typing import Any

import pytest

from container.errors import RequestError
from container.serving.records import json_values
from container.serving.third_party import predict_requests


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"number": math.nan}, '{"number": null}'),
        ([1.5, math.inf, -math.inf], "[1.5, null, null]"),
        ({"NaN": "NaN Infinity", "a": [math.nan]}, '{"NaN": "NaN Infinity", "a": [null]}'),
        (['"NaN', math.nan], '["\\"NaN", null]'),
        ({math.nan: 1}, '{"NaN": 1}'),
    ],
)
def test_what_json_cannot_hold_is_null(value: Any, text: str) -> None:
    assert json_values.dump(value) == text
    assert json_values.replace_constants(json.dumps(value)) == text


def test_text_that_is_not_json_is_left_as_it_is() -> None:
    for text in ('"NaN', "BaNaNa", "-1", '{"a": "Infinity"}'):
        assert json_values.replace_constants(text) == text


@pytest.mark.parametrize("value", ["%", 1, None, "a"])
def test_what_is_no_base64_is_refused(value: Any) -> None:
    with pytest.raises(RequestError, match="not base64"):
        json_values.take_bytes({"b64": value})
    assert json_values.take_bytes({"b64": "AA==", "a": 1}) == {"b64": "AA==", "a": 1}


@pytest.mark.parametrize(
    ("document", "form"),
    [
        ({"instances": []}, "instances"),
        ({"inputs": 1, "signature_name": "x"}, "inputs"),
        ({"instances": [], "other": 1}, ""),
        ([1], ""),
    ],
)
def test_predict_request_is_known_by_its_only_key(document: Any, form: str) -> None:
    assert json_values.find_form(document) == form


@pytest.mark.parametrize("names", [*itertools.combinations(json_values.FORMS, 2)])
def test_a_predict_request_of_two_forms_is_refused(names: tuple[str, str]) -> None:
    with pytest.raises(RequestError, match=f'both "{names[0]}" and "{names[1]}"; send one'):
        predict_requests.decode(json.dumps({name: [[1]] for name in names}))
