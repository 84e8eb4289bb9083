"""Pictures in base64 inside JSON, in TensorFlow Serving's forms.

    {"instances": [{"b64": "..."}, {"NAME": {"b64": "..."}}, ...]}      also under "inputs"

Parsed as JSON, a text would be copied three times. So each is decoded where it lies in the body,
and a number stands for it in the JSON that is parsed.
"""

import binascii
import os
import re
from typing import Any, Final

import numpy as np

from container import contract
from container.errors import RequestError
from container.serving.bodies import pictures, unusual_text
from container.serving.bodies.content_encoding import Expansion
from container.serving.bodies.pixels import Images, Shape
from container.serving.records import counts, json_values

_TEXT: Final = re.compile(rb'"b64"[ \t\r\n]*+:[ \t\r\n]*+"((?:[A-Za-z0-9+/=]++|\\[/nr])*+)"')
_ESCAPE: Final = re.compile(rb"\\[nr]")
_OTHER_BYTES: Final = 1 << 20
_EXPECTED: Final = '{"instances": [{"b64": "..."}, ...]} is expected'


def check_count(body: bytes) -> None:
    """Check how many pictures a body may hold. Raises: RequestError 413."""
    counts.check_parts(body.count(b'"b64"'), "pictures")


def decode(
    body: bytes,
    shape: Shape,
    expansion: Expansion,
    resize: str = "refuse",
    *,
    is_lines: bool = False,
) -> Images:
    """Decode the pictures of JSON or JSON lines in UTF-8, in their order.

    Raises: RequestError 400 naming the picture, 413 if there are too many or they expand too far.
    """
    check_count(body)
    places = [text.span(1) for text in _TEXT.finditer(body)]
    order = _read_order(body, places, is_lines=is_lines)
    images = []
    for row, number in enumerate(order, start=1):
        try:
            content = _decode_text(body, places[number])
            images.append(
                pictures.decode_any(
                    content,
                    shape,
                    resize=resize,
                    bytes_maximum=max(expansion.maximum, contract.REALTIME_PAYLOAD_BYTES),
                    charge=expansion.take_picture,
                )
            )
        except RequestError as error:
            raise RequestError(error.status, f"instance {row}: {error}") from None
    return np.concatenate(images)


def _decode_text(body: bytes, place: tuple[int, int]) -> bytes:
    text: Any = memoryview(body)[slice(*place)]
    if b"\\" in body[slice(*place)]:
        text = _ESCAPE.sub(b"", bytes(text)).replace(b"\\/", b"/")
    try:
        return binascii.a2b_base64(text, strict_mode=True)
    except binascii.Error as error:
        raise RequestError(400, f'the value of "b64" is not base64: {error}') from None


def _read_order(body: bytes, places: list[tuple[int, int]], *, is_lines: bool) -> list[int]:
    """Return the numbers of the texts in the order of the instances."""
    first = int.from_bytes(os.urandom(8), "big")  # so that no number of the client's is one of ours
    pieces = []
    start = 0
    for number, (begin, end) in enumerate(places, start=first):
        pieces.append(body[start : begin - 1] + b"%d" % number)
        start = end + 1
    pieces.append(body[start:])
    if sum(map(len, pieces)) > _OTHER_BYTES:
        raise RequestError(400, f"the JSON holds more than pictures; {_EXPECTED}")
    text = b"".join(pieces)
    document = _parse_lines(text) if is_lines else _parse(text)
    if isinstance(document, dict):
        json_values.refuse_both_forms(document)
        unusual_text.check_signature(document)
        document = document.get("instances", document.get("inputs"))
    if isinstance(document, dict):
        document = [document]
    if not isinstance(document, list) or not document:
        raise RequestError(400, f"the JSON holds no array of pictures; {_EXPECTED}")
    order = []
    for row, item in enumerate(document, start=1):
        number = _find_number(item) - first
        if not 0 <= number < len(places):
            raise RequestError(400, f"instance {row} is not a picture in base64; {_EXPECTED}")
        order.append(number)
    return order


def _parse_lines(text: bytes) -> list[Any]:
    """Parse JSON lines. Raises: RequestError 400 if a line holds several values."""
    text = text.rstrip()
    document: list[Any] = _parse(b"[" + text.replace(b"\n", b",") + b"]")
    lines = text.count(b"\n") + 1
    if len(document) != lines:
        message = f"{lines} lines of JSON hold {len(document)} values; each line is one instance"
        raise RequestError(400, message)
    return document


def _parse(text: bytes) -> Any:
    try:
        return json_values.load(text)
    except (ValueError, RecursionError) as error:
        raise RequestError(400, f"the body is not JSON: {str(error)[:200]}") from None


def _find_number(item: Any) -> int:
    """Return the number that stands for the text of an instance; -1 if none does."""
    if isinstance(item, dict) and len(item) == 1 and "b64" not in item:
        item = next(iter(item.values()))
    if isinstance(item, dict) and item.keys() == {"b64"} and isinstance(item["b64"], int):
        return item["b64"]
    return -1
