"""Pictures in base64 inside JSON, in TensorFlow Serving's forms.

    {"instances": [{"b64": "..."}, {"NAME": {"b64": "..."}}, ...]}      also under "inputs"

Parsed as JSON, a text would be copied three times. So each is decoded where it lies in the body,
and a number stands for it in the JSON that is parsed.
"""

from __future__ import annotations

import binascii
import json
import re
from typing import Any, Final

import numpy as np

from container import contract
from container.errors import RequestError
from container.serving.bodies import pictures
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
    pieces = []
    start = 0
    for number, (begin, end) in enumerate(places):
        pieces.append(body[start : begin - 1] + b"%d" % number)
        start = end + 1
    pieces.append(body[start:])
    if sum(map(len, pieces)) > _OTHER_BYTES:
        raise RequestError(400, f"the JSON holds more than pictures; {_EXPECTED}")
    text = b"".join(pieces)
    if is_lines:
        text = b"[" + text.rstrip().replace(b"\n", b",") + b"]"
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RequestError(400, f"the body is not JSON: {str(error)[:200]}") from None
    if isinstance(document, dict):
        json_values.refuse_both_forms(document)
        document = document.get("instances", document.get("inputs"))
    if isinstance(document, dict):
        document = [document]
    if not isinstance(document, list) or not document:
        raise RequestError(400, f"the JSON holds no array of pictures; {_EXPECTED}")
    return [_find_number(item, row) for row, item in enumerate(document, start=1)]


def _find_number(item: Any, row: int) -> int:
    if isinstance(item, dict) and len(item) == 1 and "b64" not in item:
        item = next(iter(item.values()))
    if not isinstance(item, dict) or item.keys() != {"b64"} or not isinstance(item["b64"], int):
        message = f"instance {row} is not a picture in base64; {_EXPECTED}"
        raise RequestError(400, message)
    return item["b64"]
