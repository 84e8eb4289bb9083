"""Images from text: CSV, JSON and JSON lines.

Plain text is decoded in C, by `rows.c`. What that declines, because it is unusual or wrong, is
decoded in Python, by `unusual_text`: to the same pixels, or with an error that names the place.

Rules of this file: pure; every fault is a RequestError that names row or line, counted from 1.
"""

import ctypes
import functools
import math
import re
from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from container.errors import RequestError
from container.serving.bodies import rows, unusual_text
from container.serving.bodies.pixels import Images, Shape
from container.serving.records import csv_rules, lines

_PLAIN_JSON: Final = re.compile(
    rb"""
    [ \t\n\r]* (?P<object> \{ [ \t\n\r]* "in(?:stances|puts)" [ \t\n\r]* : [ \t\n\r]* )?
    \[ [ \t\n\r]* (?P<image> \[ [ \t\n\r[]* )
    """,
    re.VERBOSE,
)
_JSON_LINE: Final = re.compile(rb'\s*\{\s*"features"\s*:')

WITHOUT_HEADER: Final = {"header": "absent"}
"""Parameters of CSV whose first row is a record, so that each line has its answer (BT-9)."""
_MARKS: Final = (b"\xef", b"\xfe", b"\xff")
"""First bytes of the marks of UTF-8 and UTF-16; no number begins with them."""
_SHORT_BYTES: Final = 32_768
"""Shorter text takes a few microseconds, which is not worth giving up Python's lock."""
_FEW_ROWS: Final = 16  # counting line ends costs more than memory for so many

_decode_short = rows.load(ctypes.PyDLL)
_decode_long = rows.load(ctypes.CDLL)


def decode_csv(body: bytes, shape: Shape, parameters: Mapping[str, str], first: int = 1) -> Images:
    """Decode rows of one image each, perhaps below a header; errors count rows from `first`."""
    has_header = None
    if parameters or body.startswith(_MARKS):
        has_header = csv_rules.read_header_parameter(parameters)
        body = lines.to_utf8(body, parameters)
    columns = math.prod(shape)
    decoded = None
    if not has_header:
        decoded = decode_csv_rows(body, columns)
    if decoded is not None:
        return decoded.reshape(-1, *shape)
    images = unusual_text.decode_csv(body, columns, first, decode_csv_rows, has_header=has_header)
    return images.reshape(-1, *shape)


def decode_json_lines(
    body: bytes, shape: Shape, parameters: Mapping[str, str], first: int = 1
) -> Images:
    """Decode lines of `[pixel, ...]`, of a nested image, or of either under "features".

    Raises: EncodedPicturesError if they are pictures in base64, which may expand.
    """
    if b'"b64"' in body:
        raise unusual_text.EncodedPicturesError
    decoded = bytearray()
    for number, line in enumerate(lines.split(body, parameters), start=first):
        if unusual_text.is_too_long(len(line), math.prod(shape)):
            message = f"line {number} of {len(line)} bytes is longer than any image"
            raise RequestError(400, f"{message} of {math.prod(shape)} pixels")
        text = line.strip()
        start = _JSON_LINE.match(text)
        if start is not None and text.endswith(b"}"):
            text = text[start.end() : -1]
        try:
            image = _decode_json(b"[" + text + b"]", shape)
        except RequestError as error:
            raise RequestError(400, f"line {number}: {error}") from None
        if len(image) != 1:
            raise RequestError(400, f"line {number} holds {len(image)} images; one is expected")
        decoded += image.data
    return np.frombuffer(decoded, np.uint8).reshape(-1, *shape)


def decode_json(body: bytes, shape: Shape, parameters: Mapping[str, str]) -> Images:
    """Decode an array of images, by itself or under "instances" or "inputs".

    Raises: EncodedPicturesError if they are pictures in base64, which may expand.
    """
    return _decode_json(lines.to_utf8(body, parameters), shape)


def _decode_json(body: bytes, shape: Shape) -> Images:
    images = _decode_plain_json(body, shape)
    if images is not None:
        return images
    return unusual_text.decode_json(body, shape)


def _decode_plain_json(body: bytes, shape: Shape) -> Images | None:
    """Decode an array of images that holds nothing unusual, or None if it does."""
    start = _PLAIN_JSON.match(body)
    if start is None:
        return None
    sizes = _find_nestings(shape).get(start["image"].count(b"["))
    if sizes is None:
        return None
    begin = start.start("image")
    columns = sizes[0]
    rows_maximum = (len(body) - begin) // (2 * columns) + 1
    decoded = decode_rows(body, sizes, rows_maximum, columns, begin)
    if decoded is None:
        return None
    images, end = decoded
    closing = b"]}" if start["object"] else b"]"
    if body[end:].translate(None, b" \t\n\r") != closing:
        return None
    return images.reshape(-1, *shape)


@functools.lru_cache(maxsize=256)
def _find_nestings(shape: Shape) -> dict[int, tuple[int, ...]]:
    """Return by the depth of an image how many numbers each level holds, the outermost first."""
    columns = math.prod(shape)
    _, width, channels = shape
    nestings: dict[int, tuple[int, ...]] = {1: (columns,), 3: (columns, width * channels, channels)}
    if channels == 1:
        nestings[2] = (columns, width)
    return nestings


def decode_rows(
    text: bytes, sizes: tuple[int, ...], rows_maximum: int, columns: int, begin: int = 0
) -> tuple[NDArray[np.uint8], int] | None:
    """Decode plain rows from `begin` on into `[n, columns] uint8`, and find where they end.

    `sizes` is empty for CSV. For the inside of a JSON array it holds how many numbers each level of
    nesting has, the outermost first. Returns None if there is no library, or if anything is unusual
    or wrong.
    """
    function = _decode_short
    source: bytes | int = text
    if len(text) >= _SHORT_BYTES:
        function = _decode_long
        if begin:  # without a copy
            source = begin + np.frombuffer(text, np.uint8).ctypes.data
    elif begin:
        source = text[begin:]
    if function is None:
        return None
    images = np.empty((rows_maximum, columns), np.uint8)
    end = ctypes.c_long()
    count = function(
        source,
        len(text) - begin,
        columns,
        len(sizes),
        _make_array(sizes),
        rows_maximum,
        ctypes.byref(ctypes.c_char.from_buffer(images.data)),  # faster than `ctypes.data`
        ctypes.byref(end),
    )
    if count < 0:
        return None
    return images[:count], begin + end.value


def decode_csv_rows(text: bytes, columns: int) -> NDArray[np.uint8] | None:
    """Decode lines of CSV into `[n, columns] uint8`; None as from `decode_rows`."""
    # A pixel and what separates it take two bytes or more.
    rows_maximum = len(text) // (2 * columns) + 1
    if rows_maximum > _FEW_ROWS:
        rows_maximum = min(rows_maximum, text.count(b"\n") + 1)
    decoded = decode_rows(text, (), rows_maximum, columns)
    return None if decoded is None else decoded[0]


@functools.lru_cache(maxsize=256)
def _make_array(sizes: tuple[int, ...]) -> ctypes.Array[ctypes.c_long]:
    return (ctypes.c_long * len(sizes))(*sizes)
