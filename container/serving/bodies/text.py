"""Images from text: CSV, JSON and JSON lines.

Plain text is decoded in C, by `rows.c`. What that declines, because it is unusual or wrong, is
decoded in Python: to the same pixels, or with an error that names the place.

Rules of this file: pure; every fault is a RequestError that names row or line, counted from 1.
"""

from __future__ import annotations

import ctypes
import functools
import json
import math
import re
import warnings
from collections.abc import Iterator, Mapping
from typing import Any, Final, NoReturn

import numpy as np
from numpy.typing import NDArray

from container.errors import RequestError
from container.serving.bodies import pixels, rows
from container.serving.bodies.pixels import TWO_FORMS, Images, Shape, quote

# Two repetitions of digits never meet: backtracking between them would be quadratic (SEC-6).
_NUMBER: Final = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_NUMBER_CHARACTERS_MAXIMUM: Final = 1024
_CSV_CHARACTERS: Final = b"0123456789+-.eE,\n\r\t "
_CSV_BLOCK_BYTES: Final = 1_000_000
_PLAIN_JSON: Final = re.compile(
    rb"""
    [ \t\n\r]* (?P<object> \{ [ \t\n\r]* "instances" [ \t\n\r]* : [ \t\n\r]* )?
    \[ [ \t\n\r]* (?P<image> \[ [ \t\n\r[]* )
    """,
    re.VERBOSE,
)
_JSON_LINE: Final = re.compile(rb'\s*\{\s*"features"\s*:')
_CHARSETS: Final = frozenset(
    ["utf-8", "utf8", "utf-8-sig", "us-ascii", "ascii", "iso-8859-1", "latin-1", "latin1", "utf-16"]
)

_SHORT_BYTES: Final = 32_768
"""Shorter text takes a few microseconds, which is not worth giving up Python's lock."""
_decode_short = rows.load(ctypes.PyDLL)
_decode_long = rows.load(ctypes.CDLL)


def decode_csv(body: bytes, shape: Shape, parameters: Mapping[str, str], first: int = 1) -> Images:
    """Decode rows of one image each; errors count rows from `first`."""
    body = _to_utf8(body, parameters)
    columns = math.prod(shape)
    # A pixel and what separates it take two bytes or more.
    rows_maximum = min(body.count(b"\n"), len(body) // (2 * columns)) + 1
    decoded = _decode_rows(body, (), rows_maximum, columns)
    if decoded is not None:
        return decoded[0].reshape(-1, *shape)
    body = body.rstrip()  # the last row ends with a newline, and some files with a blank line
    blocks = []
    start = 0
    while start <= len(body):
        # Python's numbers take ten times the memory of their text: a large body is read in blocks.
        end = body.find(b"\n", start + _CSV_BLOCK_BYTES)
        if end < 0:
            end = len(body)
        blocks.append(_decode_csv_block(body[start:end], columns, first))
        start = end + 1
        first += len(blocks[-1])
    return np.concatenate(blocks).reshape(-1, *shape)


def _decode_csv_block(block: bytes, columns: int, first_row: int) -> Images:
    """Decode lines of CSV into `[row, columns] uint8`; rows are counted from `first_row`.

    Plain numbers go through the JSON parser, which is five times as fast as `float` on each. Where
    JSON is stricter than CSV (`.5`, `007`), or something is wrong, each value is looked at.
    """
    if not block.translate(None, _CSV_CHARACTERS):
        try:
            array = np.array(json.loads(b"[[" + block.replace(b"\n", b"],[") + b"]]"))
        except (ValueError, OverflowError):
            array = np.empty(0)
        if array.ndim == 2 and array.shape[1] == columns and array.dtype.kind in "iuf":
            return pixels.scale(array, first_row)
    parsed = [
        _parse_csv_line(line, columns, row)
        for row, line in enumerate(block.decode("utf-8", "replace").split("\n"), start=first_row)
    ]
    return pixels.scale(np.array(parsed, np.float64), first_row)


def _parse_csv_line(line: str, columns: int, row: int) -> list[float]:
    cells = line.split(",")
    parsed = [_parse_cell(cell, row, column) for column, cell in enumerate(cells, start=1)]
    if len(parsed) != columns:
        message = f"row {row} has {len(parsed)} columns; {columns} pixels are expected"
        if len(parsed) == columns + 1:
            message += "; does it still hold the label?"
        raise RequestError(400, message)
    return parsed


def _parse_cell(cell: str, row: int, column: int) -> float:
    text = cell.strip().strip('"').strip()
    if len(text) <= _NUMBER_CHARACTERS_MAXIMUM and _NUMBER.fullmatch(text):
        return float(text)
    place = f"row {row}, column {column}"
    if not text:
        raise RequestError(400, f"{place} is empty; a pixel is expected")
    message = f"{place} is {quote(text)}, which is not a finite number; {TWO_FORMS}"
    if row == column == 1 and text.isidentifier():
        message += "; rows are sent without a header"
    raise RequestError(400, message)


def decode_json_lines(
    body: bytes, shape: Shape, parameters: Mapping[str, str], first: int = 1
) -> Images:
    """Decode lines of `[pixel, ...]`, of a nested image, or of either under "features"."""
    images = []
    for number, line in enumerate(split_lines(body, parameters), start=first):
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
        images.append(image)
    return np.concatenate(images)


def split_lines(body: bytes, parameters: Mapping[str, str]) -> list[bytes]:
    """Split a text body into its lines, in UTF-8."""
    return _to_utf8(body, parameters).rstrip().split(b"\n")


def decode_json(body: bytes, shape: Shape, parameters: Mapping[str, str]) -> Images:
    """Decode an array of images, by itself or under "instances"."""
    return _decode_json(_to_utf8(body, parameters), shape)


def _decode_json(body: bytes, shape: Shape) -> Images:
    images = _decode_plain_json(body, shape)
    if images is not None:
        return images
    document = _parse_json(body)
    if isinstance(document, dict):
        if "instances" not in document:
            keys = ", ".join(map(quote, list(document)[:5])) or "nothing"
            message = f'the JSON object holds {keys}; {{"instances": [image, ...]}} is expected'
            raise RequestError(400, message)
        document = document["instances"]
    if not isinstance(document, list):
        found = type(document).__name__
        raise RequestError(400, f"a JSON {found} was found where an array of images is expected")
    if b"true" in body or b"false" in body:  # numpy would take them for 1 and 0
        _refuse_other_than_numbers(document)
    return _from_nested(document, shape)


def _decode_plain_json(body: bytes, shape: Shape) -> Images | None:
    """Decode an array of images that holds nothing unusual; None if it does."""
    start = _PLAIN_JSON.match(body)
    if start is None:
        return None
    sizes = _find_nestings(shape).get(start["image"].count(b"["))
    if sizes is None:
        return None
    text = body[start.start("image") :]
    columns = sizes[0]
    decoded = _decode_rows(text, sizes, len(text) // (2 * columns) + 1, columns)
    if decoded is None:
        return None
    images, end = decoded
    closing = b"]}" if start["object"] else b"]"
    if text[end:].translate(None, b" \t\n\r") != closing:
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


def _decode_rows(
    text: bytes, sizes: tuple[int, ...], rows_maximum: int, columns: int
) -> tuple[NDArray[np.uint8], int] | None:
    """Decode plain rows of pixels into `[n, columns] uint8`, and find where in `text` they end.

    `sizes` is empty for CSV. For the inside of a JSON array it holds how many numbers each level of
    nesting has, the outermost first. Returns None if there is no library, or if anything is unusual
    or wrong.
    """
    decode = _decode_short if len(text) < _SHORT_BYTES else _decode_long
    if decode is None:
        return None
    images = np.empty((rows_maximum, columns), np.uint8)
    end = ctypes.c_long()
    count = decode(
        text,
        len(text),
        columns,
        len(sizes),
        _make_array(sizes),
        rows_maximum,
        images.ctypes.data,
        ctypes.byref(end),
    )
    if count < 0:
        return None
    return images[:count], end.value


@functools.lru_cache(maxsize=256)
def _make_array(sizes: tuple[int, ...]) -> ctypes.Array[ctypes.c_long]:
    return (ctypes.c_long * len(sizes))(*sizes)


def _parse_json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except RecursionError:
        raise RequestError(400, "the JSON is nested too deeply") from None
    except ValueError as error:
        raise RequestError(400, f"the body is not JSON: {str(error)[:200]}") from None


def _from_nested(instances: list[Any], shape: Shape) -> Images:
    """Turn nested lists of numbers into images."""
    if not instances:
        expected = f"{pixels.describe_shapes(shape)} is expected"
        raise RequestError(400, f"the array of images is empty; {expected}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            array = np.array(instances)
    except (ValueError, OverflowError):
        array = np.empty(0, object)
    if array.dtype.kind not in "iuf":
        _refuse_other_than_numbers(instances)
        _refuse_nesting(instances, shape)
    return pixels.from_array(array, shape)


def _refuse_other_than_numbers(instances: list[Any]) -> None:
    for row, instance in enumerate(instances, start=1):
        for column, value in enumerate(_flatten(instance), start=1):
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                found = quote(value) if isinstance(value, str) else json.dumps(value)[:40]
                raise RequestError(400, f"row {row}, column {column} is {found}; {TWO_FORMS}")


def _refuse_nesting(instances: list[Any], shape: Shape) -> NoReturn:
    columns = math.prod(shape)
    for row, instance in enumerate(instances, start=1):
        values = list(_flatten(instance))
        if len(values) != columns:
            message = f"row {row} has {len(values)} values; {columns} pixels are expected"
            raise RequestError(400, message)
        for column, value in enumerate(values, start=1):
            if abs(value) > 255:
                raise RequestError(400, f"row {row}, column {column} is out of range; {TWO_FORMS}")
    expected = f"{pixels.describe_shapes(shape)} is expected"
    raise RequestError(400, f"the images are nested in different ways; {expected}")


def _flatten(value: Any) -> Iterator[Any]:
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, list):
            stack.extend(reversed(item))
        else:
            yield item


def _to_utf8(body: bytes, parameters: Mapping[str, str]) -> bytes:
    """Turn a text body into UTF-8 without a byte order mark."""
    charset = parameters.get("charset", "utf-8").lower()
    if charset not in _CHARSETS:
        supported = "supported: utf-8, utf-16, iso-8859-1"
        raise RequestError(415, f"charset {quote(charset)} is not supported; {supported}")
    if charset == "utf-16":
        try:
            return body.decode(charset).encode()
        except ValueError:
            raise RequestError(
                400, "the body is not utf-16, the charset of its content type"
            ) from None
    return body.removeprefix(b"\xef\xbb\xbf")
