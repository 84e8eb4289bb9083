"""Images from the text that `rows.c` declines, because it is unusual or wrong.

Python's numbers and lists take up to thirty times the memory of their text. So a long body is
decoded block by block, and what is too long to be an image of the model is refused before it is
parsed (SEC-6).

Rules of this file: pure; every fault is a RequestError that names row or line, counted from 1.
"""

import contextlib
import json
import math
import re
from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from container.errors import RequestError
from container.serving import charsets
from container.serving.bodies import pixels
from container.serving.bodies.pixels import TWO_FORMS, Images, Shape, quote
from container.serving.records import counts, csv_rules, json_values, nested_numbers

DecodeRows = Callable[[bytes, int], NDArray[np.uint8] | None]
"""Decodes lines of CSV of so many columns, or returns None if anything in them is unusual."""

BLOCK_BYTES: Final = 131_072
_HEADER_BYTES_MAXIMUM: Final = 1 << 20
# A fraction has 20 characters, and an indented line of JSON has as many spaces.
_PIXEL_BYTES: Final = 64
# Two repetitions of digits never meet: backtracking between them would be quadratic (SEC-6).
_NUMBER: Final = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_OF_NO_NUMBER: Final = re.compile(r"[^0-9+\-.eE,\s]")
_NUMBER_CHARACTERS_MAXIMUM: Final = 1024
_BLANK: Final = re.compile(r"[^\S\n]")
_DIGITS: Final = bytes.maketrans(b"123456789+-.eE", b"0" * 14)
_CSV_CHARACTERS: Final = b"0123456789+-.eE,\n\r\t "
_JSON_CHARACTERS: Final = b"0123456789+-.eE,[]\n\r\t "
_INSTANCES: Final = re.compile(
    rb'"in(?:stances|puts)"[ \t\n\r]*+:[ \t\n\r]*+'
    rb'(?:\{[ \t\n\r]*+"[^"\\]{0,200}"[ \t\n\r]*+:[ \t\n\r]*+)?\['
)
_SIGNATURE_NAME: Final = "serving_default"
_OPENING: Final = re.compile(rb"[ \t\n\r[]*")
_CLOSING: Final = re.compile(rb"\](?:[ \t\n\r]*+\])*+")
_SEPARATOR: Final = re.compile(rb"[ \t\n\r]*+([,\]]?)[ \t\n\r]*+")
_PLACEHOLDER: Final = "the images, which are decoded block by block"


class EncodedPicturesError(RequestError):
    """The body holds pictures in base64, which `encoded_pictures` decodes."""

    def __init__(self) -> None:
        super().__init__(400, "pictures in base64 are expected under instances")


def is_too_long(byte_count: int, columns: int) -> bool:
    """Return whether a text is longer than any image of so many pixels."""
    return byte_count > BLOCK_BYTES + _PIXEL_BYTES * columns


# CSV


def decode_csv(
    body: bytes,
    columns: int,
    first_row: int,
    decode_rows: DecodeRows,
    *,
    has_header: bool | None = False,
) -> Images:
    """Decode rows into `[row, columns] uint8`; errors count rows from `first_row`.

    `decode_rows` decodes usual lines and returns None for others. `has_header` says whether the
    first row is one; None finds out.
    """
    # The last row ends with a newline, and some files with a blank line.
    end = charsets.find_end(body)
    counts.check_rows(body.count(b"\n", 0, end), len(body))
    decoded = bytearray()
    start = 0
    if first_row == 1 and has_header is not False:
        start = _find_rows(body, end, columns, is_certain=bool(has_header))
        first_row += start > 0
    while start <= end:
        stop = end
        if end - start > BLOCK_BYTES:
            stop = body.rfind(b"\n", start, start + BLOCK_BYTES)
        if stop < 0:  # the line is longer
            stop = body.find(b"\n", start + BLOCK_BYTES, end)
            stop = end if stop < 0 else stop
            _check_long_line(body, start, stop, columns, first_row)
        block = _decode_csv_block(body[start:stop], columns, first_row, decode_rows)
        decoded += block.data
        first_row += len(block)
        start = stop + 1
    return np.frombuffer(decoded, np.uint8).reshape(-1, columns)


def _find_rows(body: bytes, end: int, columns: int, *, is_certain: bool) -> int:
    """Return where the rows begin: at 0, or after a header of names without any number.

    Raises: RequestError 400 if there is a header and no row.
    """
    stop = body.find(b"\n", 0, min(end, _HEADER_BYTES_MAXIMUM))
    if is_certain and stop < 0:
        raise RequestError(400, "the body has a header and no row")
    if is_certain:
        return stop + 1
    if stop < 0 or body.count(b",", 0, stop) != columns - 1:
        return 0
    cells = body[:stop].decode("utf-8", "replace").split(",")
    names = {cell.strip().strip('"').strip() for cell in cells}
    if len(names) < columns or any(map(_is_value, names)):
        return 0
    return stop + 1


def _is_value(cell: str) -> bool:
    return len(cell) > _NUMBER_CHARACTERS_MAXIMUM or csv_rules.parse(cell) is not None


def _check_long_line(body: bytes, start: int, stop: int, columns: int, row: int) -> None:
    _check_column_count(body.count(b",", start, stop) + 1, columns, row)
    for column, cell in enumerate(body[start:stop].split(b","), start=1):
        if len(cell) > _NUMBER_CHARACTERS_MAXIMUM or not cell.isascii():
            raise _not_a_number(cell[:100].decode("utf-8", "replace"), row, column)


def _decode_csv_block(
    block: bytes, columns: int, first_row: int, decode_rows: DecodeRows
) -> Images:
    """Decode lines of CSV into `[row, columns] uint8`; rows are counted from `first_row`.

    Without quotation marks and rare white space, `rows.c` takes all that is right. Without that
    library plain numbers go through the JSON parser, which is five times as fast as `float` on
    each. Where JSON is stricter than CSV (`.5`, `007`), or something is wrong, each value is looked
    at.
    """
    count = block.count(b"\n") + 1
    if b'"' in block and not _has_quote_inside(block):
        block = block.replace(b'"', b"")
    plain = block
    if block.translate(None, _CSV_CHARACTERS):
        plain = _BLANK.sub(" ", block.decode("utf-8", "replace")).encode()
    decoded = decode_rows(plain, columns)
    if decoded is not None and len(decoded) == count:
        return decoded
    is_plain = not plain.translate(None, _CSV_CHARACTERS)
    array = _parse_as_json(plain) if is_plain else np.empty(0)
    if array.ndim == 2 and array.shape[1] == columns and array.dtype.kind in "iuf":
        return pixels.scale(array, first_row)
    numbers = np.empty((count, columns))
    for index, line in enumerate(block.decode("utf-8", "replace").split("\n")):
        numbers[index] = _parse_csv_line(line, columns, first_row + index, is_plain=is_plain)
    return pixels.scale(numbers, first_row)


def _parse_as_json(block: bytes) -> NDArray[Any]:
    """Parse lines of CSV as arrays of JSON; what is none gives an array of another shape."""
    try:
        return np.array(json.loads(b"[[" + block.replace(b"\n", b"],[") + b"]]"))
    except (ValueError, OverflowError, RecursionError):
        return np.empty(0)


def _has_quote_inside(block: bytes) -> bool:
    """Return whether a quotation mark is between two characters of one number."""
    drawn = block.translate(_DIGITS)
    while b'""' in drawn:
        drawn = drawn.replace(b'""', b'"')
    return b'0"0' in drawn


def _parse_csv_line(line: str, columns: int, row: int, *, is_plain: bool) -> NDArray[np.float64]:
    """Parse a line of numbers; if it `is_plain`, `float` takes what `_NUMBER` does."""
    cells = line.split(",")
    is_short = max(map(len, cells)) <= _NUMBER_CHARACTERS_MAXIMUM
    if is_plain and is_short and len(cells) == columns:
        with contextlib.suppress(ValueError):
            return np.fromiter(map(float, cells), np.float64, columns)
    first = _count_numbers(line.replace('"', " "))
    if is_short and first < len(cells):
        _parse_cell(cells[first], row, first + 1)
    parsed = [_parse_cell(cell, row, column) for column, cell in enumerate(cells, start=1)]
    _check_column_count(len(parsed), columns, row)
    return np.array(parsed)


def _count_numbers(line: str) -> int:
    """Return how many cells come before the first one that is not a number."""
    found = _OF_NO_NUMBER.search(line)
    cells = line.split(",")
    if found is not None:
        del cells[line.count(",", 0, found.start()) :]
    numbers: list[float] = []
    with contextlib.suppress(ValueError):
        numbers.extend(map(float, cells))  # which keeps those before the first other one
    return len(numbers)


def _check_column_count(count: int, columns: int, row: int) -> None:
    if count != columns:
        message = f"row {row} has {count} columns; {columns} pixels are expected"
        if count == columns + 1:
            message += "; does it still hold the label?"
        raise RequestError(400, message)


def _parse_cell(cell: str, row: int, column: int) -> float:
    text = cell.strip().strip('"').strip()
    if len(text) <= _NUMBER_CHARACTERS_MAXIMUM and _NUMBER.fullmatch(text):
        return float(text)
    if text:
        raise _not_a_number(text, row, column)
    raise RequestError(400, f"row {row}, column {column} is empty; a pixel is expected")


def _not_a_number(text: str, row: int, column: int) -> RequestError:
    message = f"row {row}, column {column} is {quote(text)}, which is not a finite number"
    message += f"; {TWO_FORMS}"
    if row == column == 1 and text.isidentifier():
        message += "; rows are sent without a header"
    return RequestError(400, message)


# JSON


def decode_json(body: bytes, shape: Shape) -> Images:
    """Decode an array of images, by itself or under "instances" or "inputs".

    Raises: EncodedPicturesError if they are pictures in base64, which may expand.
    """
    if b'"b64"' in body:
        raise EncodedPicturesError
    if len(body) > BLOCK_BYTES:
        return _decode_long_json(body, shape)
    document = _parse_json(body)
    if isinstance(document, dict):
        document = _take_images(document)
    if not isinstance(document, list):
        found = type(document).__name__
        raise RequestError(400, f"a JSON {found} was found where an array of images is expected")
    return _from_lists(body, document, shape, 1)


def _take_images(document: dict[str, Any]) -> Any:
    """Return what a predict request holds, also that of its only named input.

    Raises: RequestError 400 if it holds nothing, or asks for another signature.
    """
    json_values.refuse_both_forms(document)
    form = next((form for form in ("instances", "inputs") if form in document), None)
    if form is None:
        keys = ", ".join(map(quote, list(document)[:5])) or "nothing"
        message = f'the JSON object holds {keys}; {{"instances": [image, ...]}} is expected'
        raise RequestError(400, message)
    check_signature(document)
    images = document[form]
    if form == "inputs" and isinstance(images, dict) and len(images) == 1:
        return next(iter(images.values()))
    return images


def check_signature(document: dict[str, Any]) -> None:
    """Refuse a predict request for another signature. Raises: RequestError 400."""
    name = document.get("signature_name")
    if name not in (None, _SIGNATURE_NAME):
        found = quote(name) if isinstance(name, str) else json.dumps(name)[:40]
        message = f"the model has no signature {found}; it is served by {_SIGNATURE_NAME!r}"
        raise RequestError(400, message)


def _decode_long_json(body: bytes, shape: Shape) -> Images:
    """Decode the images in blocks, then parse what is around them."""
    start = 0
    if body[:BLOCK_BYTES].lstrip().startswith(b"{"):
        found = _INSTANCES.search(body, 0, BLOCK_BYTES)
        if found is None:
            message = 'the JSON object does not begin with {"instances": [image, ...]}'
            raise RequestError(400, message)
        start = found.end() - 1
    opening = _OPENING.match(body, start)
    depth = opening[0].count(b"[") - 1 if opening is not None else 0
    if not 1 <= depth <= 3:
        expected = f"{pixels.describe_shapes(shape)} is expected"
        raise RequestError(400, f"the first image is nested in {depth} arrays; {expected}")
    array = body.index(b"[", start)
    decoded = bytearray()
    end = array + 1
    separator = b","
    while separator == b",":
        done = len(decoded) // math.prod(shape)
        images, end = _decode_json_block(body, end, depth, shape, done + 1)
        decoded += images.data
        found = _SEPARATOR.match(body, end)
        assert found is not None  # noqa: S101 - it matches an empty text, too
        separator = found[1]
        end = found.end(1)
    is_alone = len(body) - end <= BLOCK_BYTES
    document = None
    if separator and is_alone:
        placeholder = json.dumps(_PLACEHOLDER).encode()
        document = _parse_json(body[:array] + placeholder + body[end:])
    if isinstance(document, dict):
        document = _take_images(document)
    if document != _PLACEHOLDER:
        message = f"an array of images is expected to end at byte {end}, and the JSON soon after it"
        raise RequestError(400, message)
    return np.frombuffer(decoded, np.uint8).reshape(-1, *shape)


def _decode_json_block(
    body: bytes, start: int, depth: int, shape: Shape, first_row: int
) -> tuple[Images, int]:
    """Decode the images that begin at `start`; also return where they end.

    An image is nested in `depth` arrays. The last block ends where its array does.
    """
    columns = math.prod(shape)
    last = start + 2 * BLOCK_BYTES + _PIXEL_BYTES * columns
    end = len(body)
    is_last = end - start <= 2 * BLOCK_BYTES
    if not is_last:
        end = _find_image_end(body, start + BLOCK_BYTES, last, depth)
        array = nested_numbers.parse(body[start:end], depth, shape)
        if array is not None:
            return pixels.from_array(array, shape, first_row), end
    block = b"[" + body[start:end]
    if len(block) > 2 * BLOCK_BYTES:
        _check_long_image(block, columns, first_row)
    if is_last:
        instances, length = _parse_array(block)
        end = start + length - 2  # without the bracket before the block, and that at its end
    else:
        instances = _parse_json(block + b"]")
    return _from_lists(block, instances, shape, first_row), end


def _find_image_end(body: bytes, start: int, last: int, depth: int) -> int:
    """Find where the first image ends that ends behind `start`; `last` if none does before that."""
    for found in _CLOSING.finditer(body, start, last):
        if found[0].count(b"]") >= depth:
            end = found.start()
            for _ in range(depth):
                end = body.index(b"]", end) + 1
            return end
    return last


def _check_long_image(block: bytes, columns: int, row: int) -> None:
    """Check what is longer than an image is as a rule, before it is parsed."""
    values = block.count(b",") + block.count(b"[")
    if values > BLOCK_BYTES + 3 * columns or block.translate(None, _JSON_CHARACTERS):
        message = f"row {row} or a later one is not an image of {columns} pixels"
        raise RequestError(400, f"{message}; {TWO_FORMS}")


def _parse_json(body: bytes) -> Any:
    return _parse(json_values.load, body)


def _parse_array(text: bytes) -> tuple[list[Any], int]:
    """Parse the array that a text begins with; also return its length."""
    decoder = json.JSONDecoder()
    parsed: tuple[list[Any], int] = _parse(lambda it: decoder.raw_decode(it.decode()), text)
    return parsed


def _parse(parse: Callable[[bytes], Any], body: bytes) -> Any:
    try:
        return parse(body)
    except RecursionError:
        raise RequestError(400, "the JSON is nested too deeply") from None
    except ValueError as error:
        raise RequestError(400, f"the body is not JSON: {str(error)[:200]}") from None


def _from_lists(text: bytes, instances: list[Any], shape: Shape, first_row: int) -> Images:
    are_numbers = not text.translate(None, _JSON_CHARACTERS)
    return pixels.from_lists(instances, shape, first_row, are_numbers=are_numbers)
