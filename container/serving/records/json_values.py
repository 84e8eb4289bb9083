"""JSON by the letter: what it cannot hold is null, and `{"b64": "..."}` is bytes.

Python writes and reads NaN and Infinity, which are not JSON: most clients refuse an entire answer
that holds one of them. So they become null, whoever wrote the text.
"""

import base64
import binascii
import collections
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias

from container.errors import RequestError

FORMS: Final = ("instances", "inputs", "dataframe_split", "dataframe_records")
# Texts come first, so that no word inside one is replaced.
_CONSTANT: Final = re.compile(r'"(?:[^"\\]|\\.)*+"?|-?\bInfinity\b|\bNaN\b', re.DOTALL)
_TEXT: Final = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?([ \t\n\r]*+:)?', re.DOTALL)
_SHORT_CHARACTERS: Final = 131_072

Hook: TypeAlias = Callable[[dict[str, Any]], Any]


def load(text: str | bytes, hook: Hook | None = None) -> Any:
    """Parse JSON in which no object has a name twice, of which one would be lost.

    Names are counted in the text and in the objects, since pairs of them would take more memory.

    Raises: ValueError or RecursionError, as `json` does.
    """
    if isinstance(text, bytes):
        text = text.decode(json.detect_encoding(text), "surrogatepass")
    colons = text.count(":")
    if colons < 2:
        return json.loads(text, object_hook=hook)
    count = 0

    def keep(document: dict[str, Any]) -> Any:
        nonlocal count
        count += len(document)
        return hook(document) if hook else document

    parsed = json.loads(text, object_hook=keep)
    if count < colons and count < sum(found[1] is not None for found in _TEXT.finditer(text)):
        if len(text) <= _SHORT_CHARACTERS:
            json.loads(text, object_pairs_hook=_refuse_twice)
        raise ValueError("an object has one name twice")
    return parsed


def _refuse_twice(pairs: Sequence[tuple[str, Any]]) -> None:
    [(name, count)] = collections.Counter(name for name, _ in pairs).most_common(1) or [("", 0)]
    if count > 1:
        raise ValueError(f"an object has the name {name[:80]!r} {count} times")


def dump(value: Any, default: Callable[[Any], Any] | None = None) -> str:
    """Write a value as JSON, with null for NaN and infinity.

    Raises: TypeError if neither JSON nor `default` knows the type of a value.
    """
    try:
        return json.dumps(value, default=default, allow_nan=False)
    except ValueError:
        text = json.dumps(value, default=default)  # a loop of lists is refused again
    return replace_constants(text)


def replace_constants(text: str) -> str:
    """Return JSON that someone else wrote, with null for NaN and infinity."""
    if "NaN" not in text and "Infinity" not in text:
        return text
    return _CONSTANT.sub(_replace, text)


def _replace(found: re.Match[str]) -> str:
    if found[0][0] == '"':
        return found[0]
    return "null"


def take_bytes(document: dict[str, Any]) -> Any:
    """Return bytes for `{"b64": "..."}` and any other object as it is: a hook of `load`.

    Raises: RequestError 400 if the text is not base64.
    """
    if document.keys() != {"b64"}:
        return document
    try:
        return base64.b64decode(document["b64"], validate=True)
    except (binascii.Error, ValueError, TypeError) as error:
        raise RequestError(400, f'the value of "b64" is not base64: {error}') from error


def is_missing(value: Any) -> bool:
    """Return whether a value of a table is missing: null or NaN."""
    return value is None or (isinstance(value, float) and math.isnan(value))


def refuse_both_forms(document: Mapping[str, Any]) -> None:
    """Refuse a predict request of which a part would be ignored. Raises: RequestError 400."""
    found = [f'"{name}"' for name in FORMS if name in document]
    if len(found) > 1:
        raise RequestError(400, f"the JSON holds both {' and '.join(found)}; send one of them")


def find_form(document: Any) -> str:
    """Return the key under which a predict request of TensorFlow Serving's holds its data.

    That is `instances` or `inputs`, beside which only `signature_name` may stand; otherwise "".

    Raises: RequestError 400 if it is both.
    """
    if isinstance(document, Mapping):
        if document.keys() - {"signature_name"} == {"instances", "inputs"}:
            refuse_both_forms(document)
        for form in ("instances", "inputs"):
            if document.keys() - {"signature_name"} == {form}:
                return form
    return ""
