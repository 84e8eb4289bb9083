"""What JSON cannot hold."""

import itertools
import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from container.errors import RequestError
from container.serving.records import json_values
from container.serving.third_party import predict_requests
from container.serving.user_code import default_input

LEAVES = st.none() | st.booleans() | st.integers() | st.text(':"\\{a\n')
DOCUMENTS = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner) | st.dictionaries(st.text(':"\\{ab', max_size=2), inner),
    max_leaves=20,
)


@given(DOCUMENTS, st.sampled_from([None, 1]), st.sampled_from([(",", ":"), (" ,", " :")]))
def test_what_has_each_name_once_is_read_as_it_is(document: Any, indent: Any, marks: Any) -> None:
    text = json.dumps(document, indent=indent, separators=marks)
    assert json_values.load(text) == json_values.load(text.encode("utf-16")) == document


@given(DOCUMENTS, st.text(':"\\{ab', max_size=2), st.booleans())
def test_a_name_that_comes_twice_at_any_depth_is_refused(
    document: Any, name: str, is_escaped: bool
) -> None:
    again = '"' + "".join(f"\\u{ord(letter):04x}" for letter in name) + '"'
    inner = f"{{{json.dumps(name)}: 1, {again if is_escaped else json.dumps(name)}: 2}}"
    text = json.dumps({"": document, "x": [0]}).removesuffix("[0]}") + f"[{inner}]}}"
    with pytest.raises(ValueError, match=r"an object has the name .* 2 times"):
        json_values.load(text)
    with pytest.raises(ValueError, match="an object has one name twice"):
        json_values.load(text + " " * 131_072)


@pytest.mark.parametrize("kind", ["application/json", "application/jsonlines"])
def test_a_handler_gets_no_object_of_which_a_value_is_lost(kind: str) -> None:
    for frame in (False, True):
        taker = default_input.Taker(wants_frame=frame)
        with pytest.raises(RequestError, match="an object has the name 'age' 2 times"):
            default_input.decode('{"age": 1, "age": 2}', kind, taker)


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
