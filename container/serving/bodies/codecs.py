"""Request bodies to images, and probabilities to answer bodies.

Images are `[n, height, width, channel] uint8 0-255`, probabilities `[n, class] float32`. A body
holds lines of one image each (`text/csv`, `application/jsonlines`), an array of images
(`application/json`, `application/x-npy`,
`application/x-npz`), records of one image each (`application/x-recordio-protobuf`), one picture (`image/png`,
`image/jpeg`, `image/bmp`), or several of them (`multipart/form-data`).

Pixels are 0-255. A row that holds a fraction and lies within 0-1 altogether is taken as unit scale,
for clients that divide by 255; any other fraction is refused.

Rules of this file: pure; no HTTP but the status that an error carries; every fault of a body is a
RequestError that names the place (row and column count from 1); nothing is ever unpickled (SEC-3).
"""

from __future__ import annotations

import ast
import functools
import io
import json
import math
import re
import warnings
import zipfile
import zlib
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, Literal, NoReturn, TypeAlias

import numpy as np
from numpy.typing import NDArray

from container.errors import RequestError
from container.serving.bodies import recordio, rows
from container.serving.bodies.negotiation import MediaType, parse_media_type

Images: TypeAlias = NDArray[np.uint8]
Probabilities: TypeAlias = NDArray[np.float32]
Shape: TypeAlias = tuple[int, int, int]
Classes: TypeAlias = tuple[int | str, ...]

CSV: Final = "text/csv"
JSON: Final = "application/json"
JSON_LINES: Final = "application/jsonlines"
NPY: Final = "application/x-npy"
NPZ: Final = "application/x-npz"
RECORDIO: Final = "application/x-recordio-protobuf"
MULTIPART: Final = "multipart/form-data"
BMP: Final = "image/bmp"

LINES: Final = frozenset({CSV, JSON_LINES})
"""Media types with one image a line."""
PACKED: Final = frozenset({NPZ, MULTIPART})
"""Media types whose bodies may hold any number of images however short they are."""
PNG: Final = "image/png"
JPEG: Final = "image/jpeg"

_TWO_FORMS: Final = (
    "pixels are integers 0-255, or fractions 0-1 throughout a row (each pixel divided by 255)"
)
_NUMBER: Final = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_CSV_CHARACTERS: Final = b"0123456789+-.eE,\n\r\t "
_PICTURE_ENDS: Final = {"PNG": b"IEND\xaeB`\x82", "JPEG": b"\xff\xd9"}
_PLAIN_JSON: Final = re.compile(
    rb'\s*(?P<object>\{\s*"instances"\s*:\s*)?\[\s*(?P<image>\[[\s\[]*)'
)
_JSON_LINE: Final = re.compile(rb'\s*\{\s*"features"\s*:')
_PART_TYPE: Final = re.compile(rb"^content-type:[ \t]*([^\r\n]*)", re.IGNORECASE | re.MULTILINE)
_EXPANSION_MAXIMUM: Final = 100  # digits with much background compress forty-fold
_NPY_MAGIC: Final = b"\x93NUMPY"
_CSV_BLOCK_BYTES: Final = 1_000_000
_NPY_HEADER_BYTES_MAXIMUM: Final = 10_000


def decode(media_type: MediaType, body: bytes, shape: Shape) -> Images:
    """Decode a request body into images of `shape`.

    Raises: RequestError 415 if the media type is none of `DECODERS`, 400 for every fault of the
    body.
    """
    decoder = DECODERS.get(media_type.name)
    if decoder is None:
        given = (
            f"content type {media_type.name!r}"
            if media_type.name
            else "a request without content type"
        )
        raise RequestError(415, f"{given} is not supported; supported: {', '.join(DECODERS)}")
    if not body:
        raise RequestError(
            400, f"the body is empty; {media_type.name} of at least one image is expected"
        )
    return decoder(body, shape, media_type.parameters)


def decode_each(media_type: MediaType, body: bytes, shape: Shape) -> tuple[Images, dict[int, str]]:
    """Decode each line of a body of `LINES` by itself: images of the good ones, and what is wrong with each other.

    Lines are counted from 0. Raises: RequestError as `decode` does, for what is not the fault of a
    line.
    """
    images, errors = [np.empty((0, *shape), np.uint8)], {}
    for number, line in enumerate(_split_lines(body, media_type.parameters)):
        try:
            images.append(DECODERS[media_type.name](line, shape, {}))
        except RequestError as error:
            errors[number] = (
                str(error)
                .replace("row 1", f"row {number + 1}")
                .replace("line 1", f"line {number + 1}")
            )
    return np.concatenate(images), errors


def encode(
    name: str,
    probabilities: Probabilities,
    classes: Classes,
    *,
    end_of_line: bool,
    errors: Mapping[int, str] = MappingProxyType({}),
) -> bytes:
    """Encode probabilities as the media type `name`, one of `ENCODERS`.

    `end_of_line` says whether the last line of a text format is closed by a newline: a transform job that assembles
    by line adds one itself (BT-8). `errors` are the records that have no probabilities, by their place among all:
    each gets a placeholder there (BT-9).
    """
    encoded = ENCODERS[name](probabilities, classes, errors)
    return encoded + b"\n" if end_of_line and name != NPY else encoded


def _fill(pieces: list[str], errors: Mapping[int, str], make: Callable[[str], str]) -> list[str]:
    """Put the placeholders of the records in error to their places among the others."""
    if not errors:
        return pieces
    good = iter(pieces)
    count = len(pieces) + len(errors)
    return [make(errors[place]) if place in errors else next(good) for place in range(count)]


def _decode_csv(body: bytes, shape: Shape, parameters: Mapping[str, str]) -> Images:
    body = _recode(body, parameters)
    columns = _pixels(shape)
    decoded = rows.decode(body, (), body.count(b"\n") + 1, columns)
    if decoded is not None:
        return decoded[0].reshape(-1, *shape)
    body = body.rstrip()  # a newline closes the last row, a blank line some writers' files
    blocks, start, row = [], 0, 1
    while start <= len(body):
        # Python's numbers take ten times the room of their text, so a large body is read piece by
        # piece.
        end = body.find(b"\n", start + _CSV_BLOCK_BYTES)
        end = len(body) if end < 0 else end
        blocks.append(_decode_csv_block(body[start:end], columns, row))
        start, row = end + 1, row + len(blocks[-1])
    return (blocks[0] if len(blocks) == 1 else np.concatenate(blocks)).reshape(-1, *shape)


def _decode_csv_block(block: bytes, columns: int, first_row: int) -> Images:
    """Decode lines of CSV into `[row, columns] uint8`; rows are counted from `first_row`.

    Plain numbers go by way of the JSON parser, which is five times faster than `float` on each.
    Where JSON is stricter than CSV (`.5`, `007`), or something is wrong, each value is looked at.
    """
    if not block.translate(None, _CSV_CHARACTERS):
        try:
            array = np.array(json.loads(b"[[" + block.replace(b"\n", b"],[") + b"]]"))
        except (ValueError, OverflowError):
            pass
        else:
            if array.ndim == 2 and array.shape[1] == columns and array.dtype.kind in "iuf":
                return _scale(array, first_row)
    return _scale(
        np.array(_parse_csv(block.decode("utf-8", "replace"), columns, first_row), np.float64),
        first_row,
    )


def _parse_csv(text: str, columns: int, first_row: int) -> list[list[float]]:
    parsed = []
    for number, line in enumerate(text.split("\n"), start=first_row):
        cells = line.split(",")
        row = [_parse_cell(cell, number, column) for column, cell in enumerate(cells, start=1)]
        if len(row) != columns:
            hint = "; does it still hold the label?" if len(row) == columns + 1 else ""
            raise RequestError(
                400, f"row {number} has {len(row)} columns; {columns} pixels are expected{hint}"
            )
        parsed.append(row)
    return parsed


def _parse_cell(cell: str, row: int, column: int) -> float:
    text = cell.strip().strip('"').strip()
    if _NUMBER.fullmatch(text):
        return float(text)
    place = f"row {row}, column {column}"
    if not text:
        raise RequestError(400, f"{place} is empty; a pixel is expected")
    hint = (
        "; rows are sent without a header"
        if row == 1 and column == 1 and text.isidentifier()
        else ""
    )
    raise RequestError(
        400, f"{place} is {_quote(text)}, which is no finite number; {_TWO_FORMS}{hint}"
    )


def _decode_json(body: bytes, shape: Shape, parameters: Mapping[str, str]) -> Images:
    body = _recode(body, parameters)
    images = _decode_plain_json(body, shape)
    if images is not None:
        return images
    document = _parse_json(body)
    if isinstance(document, dict):
        if "instances" not in document:
            keys = ", ".join(map(_quote, list(document)[:5])) or "nothing"
            raise RequestError(
                400, f'the JSON object holds {keys}; {{"instances": [image, ...]}} is expected'
            )
        document = document["instances"]
    if not isinstance(document, list):
        found = type(document).__name__
        raise RequestError(400, f"a JSON {found} was found where an array of images is expected")
    if b"true" in body or b"false" in body:  # numpy would take them for 1 and 0
        _refuse_other_than_numbers(document)
    return _from_nested(document, shape)


def _decode_plain_json(body: bytes, shape: Shape) -> Images | None:
    """Decode an array of images, alone or under "instances", that holds nothing unusual; None if it does."""
    start = _PLAIN_JSON.match(body)
    if start is None:
        return None
    columns, (_, width, channels) = _pixels(shape), shape
    nestings = {
        1: (columns,),
        2: (columns, width) if channels == 1 else (),
        3: (columns, width * channels, channels),
    }
    sizes = nestings.get(start["image"].count(b"["))
    text = body[start.start("image") :]
    decoded = rows.decode(text, sizes, len(text) // (2 * columns) + 1, columns) if sizes else None
    if decoded is None:
        return None
    images, end = decoded
    closing = text[end:].translate(None, b" \t\n\r")
    return images.reshape(-1, *shape) if closing == (b"]}" if start["object"] else b"]") else None


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
        raise RequestError(400, f"the array of images is empty; {_shapes(shape)} is expected")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            array = np.array(instances)
    except (ValueError, OverflowError):
        array = np.empty(0, object)
    if array.dtype.kind not in "iuf":
        _refuse_other_than_numbers(instances)
        _refuse_nesting(instances, shape)
    return _from_array(array, shape)


def _refuse_other_than_numbers(instances: list[Any]) -> None:
    for row, instance in enumerate(instances, start=1):
        for column, value in enumerate(_flatten(instance), start=1):
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                found = _quote(value) if isinstance(value, str) else json.dumps(value)[:40]
                raise RequestError(400, f"row {row}, column {column} is {found}; {_TWO_FORMS}")


def _refuse_nesting(instances: list[Any], shape: Shape) -> NoReturn:
    columns = _pixels(shape)
    for row, instance in enumerate(instances, start=1):
        values = list(_flatten(instance))
        if len(values) != columns:
            raise RequestError(
                400, f"row {row} has {len(values)} values; {columns} pixels are expected"
            )
        for column, value in enumerate(values, start=1):
            if abs(value) > 255:
                raise RequestError(400, f"row {row}, column {column} is out of range; {_TWO_FORMS}")
    raise RequestError(
        400, f"the images are nested in different ways; {_shapes(shape)} is expected"
    )


def _flatten(value: Any) -> Any:
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, list):
            stack.extend(reversed(item))
        else:
            yield item


def _decode_npy(body: bytes, shape: Shape, _: Mapping[str, str]) -> Images:
    """Read one array; the header is checked against the body's size before any memory is taken."""
    if not body.startswith(_NPY_MAGIC):
        raise RequestError(400, "the body is not an npy file")
    width = 2 if body[6:7] == b"\x01" else 4
    end = 8 + width + int.from_bytes(body[8 : 8 + width], "little")
    if end > _NPY_HEADER_BYTES_MAXIMUM:
        raise RequestError(
            400, f"the npy header is {end} bytes long; {_NPY_HEADER_BYTES_MAXIMUM} are allowed"
        )
    header = _parse_npy_header(body[:end])
    if header is None:
        raise RequestError(400, "the body is not a whole npy file of format 1, 2 or 3")
    dtype, found_shape, order = header
    if dtype.hasobject:
        message = "the npy file holds pickled Python objects, which are never read; a numeric array is expected"
        raise RequestError(400, message)
    if dtype.kind not in "iuf":
        raise RequestError(
            400,
            f"the npy array is of type {dtype}; integers or floating-point numbers are expected",
        )
    promised = math.prod(found_shape) * dtype.itemsize
    if len(body) - end != promised:
        raise RequestError(
            400, f"the npy header promises {promised} bytes of data; {len(body) - end} follow"
        )
    return _from_array(
        np.frombuffer(body, dtype, offset=end).reshape(found_shape, order=order), shape
    )


@functools.lru_cache(maxsize=256)
def _parse_npy_header(
    header: bytes,
) -> tuple[np.dtype[Any], tuple[int, ...], Literal["C", "F"]] | None:
    """Read element type, shape and order of an npy file; None if the header is not of one."""
    major = header[6:7]
    if major not in (b"\x01", b"\x02", b"\x03"):
        return None
    text = header[10 if major == b"\x01" else 12 :]
    try:
        fields = ast.literal_eval(text.decode("utf-8" if major == b"\x03" else "latin-1"))
        dtype = np.lib.format.descr_to_dtype(fields["descr"])
        shape = tuple(fields["shape"])
        order: Literal["C", "F"] = "F" if fields["fortran_order"] else "C"
    except (ValueError, TypeError, KeyError, SyntaxError, MemoryError, RecursionError):
        return None
    return (dtype, shape, order) if all(type(size) is int and size >= 0 for size in shape) else None


def _from_array(array: NDArray[Any], shape: Shape) -> Images:
    """Check rank and shape and scale: `[n, pixels]`, `[n, *shape]`, or without the channel if there is one."""
    count = len(array) if array.ndim else 0
    possible = [(count, _pixels(shape)), (count, *shape)] + (
        [(count, *shape[:2])] if shape[2] == 1 else []
    )
    if array.shape not in possible:
        raise RequestError(
            400, f"an array of shape {list(array.shape)} was found; {_shapes(shape)} is expected"
        )
    if not count:
        raise RequestError(
            400, f"the array holds no image; {_shapes(shape)} with n of at least 1 is expected"
        )
    if array.dtype == np.uint8:
        return np.ascontiguousarray(array).reshape(-1, *shape)
    return _scale(array.reshape(count, -1)).reshape(-1, *shape)


def _scale(array: NDArray[Any], first_row: int = 1) -> Images:
    """Turn rows of numbers `[n, pixels]` into uint8, by the rule for pixels that this file opens with."""
    wrong = ~((array >= 0) & (array <= 255))  # true for NaN as well
    if wrong.any():
        _refuse_pixel(array, wrong, first_row, "")
    if array.dtype.kind == "f":
        fractional = array != np.floor(array)
        in_fractions = fractional.any(axis=1)
        if in_fractions.any():
            unit = in_fractions & (array <= 1).all(axis=1)
            wrong = fractional & ~unit[:, None]
            if wrong.any():
                _refuse_pixel(array, wrong, first_row, " in a row that reaches beyond 1")
            array = array.astype(np.float64)
            array[unit] = np.rint(array[unit] * 255)
    return array.astype(np.uint8)


def _refuse_pixel(
    array: NDArray[Any], wrong: NDArray[np.bool_], first_row: int, where: str
) -> NoReturn:
    row, column = np.argwhere(wrong)[0].tolist()
    place = f"row {first_row + row}, column {column + 1}"
    raise RequestError(400, f"{place} is {array[row, column]:g}{where}; {_TWO_FORMS}")


def _decode_picture(body: bytes, shape: Shape, kind: str) -> Images:
    from PIL import Image, UnidentifiedImageError

    height, width, channels = shape
    expected = f"{width}x{height} (width x height) is expected"
    mode = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}.get(channels)
    if mode is None:
        raise RequestError(
            400, f"the model takes {channels} channels; a {kind} picture cannot hold them"
        )
    if (
        _PICTURE_ENDS.get(kind, b"") not in body
    ):  # Pillow fills what is missing of some truncated files with black
        raise RequestError(
            400,
            f"the body is not a {kind} picture or not a whole one: the mark of its end is missing",
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # Pillow warns of damaged metadata, which no prediction needs
            with Image.open(io.BytesIO(body), formats=[kind]) as picture:
                # The size stands in the header: a bomb is refused before a pixel of it is unpacked.
                if picture.size != (width, height):
                    found = f"{picture.size[0]}x{picture.size[1]}"
                    raise RequestError(400, f"the picture is {found} pixels; {expected}")
                if picture.mode.startswith(
                    "I;16"
                ):  # Pillow would clip sixteen bits instead of scaling them
                    pixels = (np.asarray(picture).astype(np.uint32) // 257).astype(np.uint8)
                    picture_8_bit = Image.fromarray(pixels)
                    return np.array(picture_8_bit.convert(mode), np.uint8).reshape(1, *shape)
                return np.array(picture.convert(mode), np.uint8).reshape(1, *shape)
    except UnidentifiedImageError:
        raise RequestError(400, f"the body is not a {kind} picture") from None
    except Image.DecompressionBombError:
        raise RequestError(400, f"the picture is far too large; {expected}") from None
    except (OSError, ValueError, SyntaxError, EOFError) as error:
        raise RequestError(400, f"the {kind} picture is damaged: {str(error)[:200]}") from None


def _decode_png(body: bytes, shape: Shape, _: Mapping[str, str]) -> Images:
    return _decode_picture(body, shape, "PNG")


def _decode_jpeg(body: bytes, shape: Shape, _: Mapping[str, str]) -> Images:
    return _decode_picture(body, shape, "JPEG")


def _decode_bmp(body: bytes, shape: Shape, _: Mapping[str, str]) -> Images:
    return _decode_picture(body, shape, "BMP")


def _decode_json_lines(body: bytes, shape: Shape, parameters: Mapping[str, str]) -> Images:
    """Decode lines of `[pixel, ...]`, of a nested image, or of either under "features"."""
    images = []
    for number, line in enumerate(_split_lines(body, parameters), start=1):
        text = line.strip()
        start = _JSON_LINE.match(text)
        if start is not None and text.endswith(b"}"):
            text = text[start.end() : -1]
        try:
            image = _decode_json(b"[" + text + b"]", shape, {})
        except RequestError as error:
            raise RequestError(400, f"line {number}: {error}") from None
        if len(image) != 1:
            raise RequestError(400, f"line {number} holds {len(image)} images; one is expected")
        images.append(image)
    return np.concatenate(images)


def _split_lines(body: bytes, parameters: Mapping[str, str]) -> list[bytes]:
    return _recode(body, parameters).rstrip().split(b"\n")


def _decode_npz(body: bytes, shape: Shape, parameters: Mapping[str, str]) -> Images:
    """Decode an archive of one npy file; what it unpacks to is bounded before it is unpacked."""
    try:
        with zipfile.ZipFile(io.BytesIO(body)) as archive:
            members = archive.infolist()
            if len(members) != 1:
                names = ", ".join(_quote(member.filename) for member in members[:5]) or "nothing"
                raise RequestError(400, f"the npz file holds {names}; one array is expected")
            maximum = max(len(body) * _EXPANSION_MAXIMUM, 1 << 20)
            with archive.open(members[0]) as stream:
                content = stream.read(maximum + 1)
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        OSError,
        RuntimeError,
        NotImplementedError,
        ValueError,
    ):
        raise RequestError(400, "the body is not a whole npz file") from None
    if len(content) > maximum:
        raise RequestError(
            413, f"the npz file expands to more than {_EXPANSION_MAXIMUM} times its size"
        )
    return _decode_npy(content, shape, parameters)


def _decode_recordio(body: bytes, shape: Shape, _: Mapping[str, str]) -> Images:
    try:
        records = recordio.decode(body)
    except ValueError as error:
        raise RequestError(400, f"the body is not RecordIO-protobuf: {error}") from None
    for number, record in enumerate(records, start=1):
        if record.size != _pixels(shape):
            raise RequestError(
                400,
                f"record {number} has {record.size} values; {_pixels(shape)} pixels are expected",
            )
    return _scale(np.stack(records)).reshape(-1, *shape)


def _decode_multipart(body: bytes, shape: Shape, parameters: Mapping[str, str]) -> Images:
    """Decode the parts in their order; each says by its own content type what it is."""
    boundary = parameters.get("boundary", "")
    if not boundary:
        raise RequestError(400, "the content type multipart/form-data has no boundary")
    delimiter = b"\r\n--" + boundary.encode("latin-1", "replace")
    pieces = (b"\r\n" + body).split(delimiter)
    if len(pieces) < 3 or not pieces[-1].startswith(b"--"):
        raise RequestError(
            400, "the multipart body holds no part, or its closing boundary is missing"
        )
    images = []
    for number, piece in enumerate(pieces[1:-1], start=1):
        head, _, content = piece.partition(b"\r\n\r\n")
        found = _PART_TYPE.search(head)
        media_type = parse_media_type(found[1].decode("latin-1") if found else "")
        try:
            images.append(
                decode(
                    media_type._replace(name=media_type.name.replace(MULTIPART, "")), content, shape
                )
            )
        except RequestError as error:
            raise RequestError(error.status, f"part {number}: {error}") from None
    return np.concatenate(images)


def _recode(body: bytes, parameters: Mapping[str, str]) -> bytes:
    """Turn a text body into UTF-8 without a byte order mark."""
    charset = parameters.get("charset", "utf-8").lower()
    if charset not in (
        "utf-8",
        "utf8",
        "us-ascii",
        "ascii",
        "iso-8859-1",
        "latin-1",
        "latin1",
        "utf-16",
        "utf-8-sig",
    ):
        raise RequestError(
            415, f"charset {_quote(charset)} is not supported; supported: utf-8, utf-16, iso-8859-1"
        )
    if charset == "utf-16":
        try:
            return body.decode(charset).encode()
        except ValueError:
            raise RequestError(400, "the body is not utf-16, as its content type says") from None
    return body.removeprefix(b"\xef\xbb\xbf")


def _encode_json(
    probabilities: Probabilities, classes: Classes, errors: Mapping[int, str]
) -> bytes:
    row_format, prediction_formats = _make_json_formats(classes)
    outputs, predictions = [], []
    for row in probabilities.tolist():
        score = max(row)
        outputs.append(row_format % tuple(row))
        predictions.append(prediction_formats[row.index(score)] % score)
    outputs = _fill(outputs, errors, lambda _: "null")
    predictions = _fill(predictions, errors, _make_json_error)
    return (
        f'{{"outputs": [{", ".join(outputs)}], "predictions": [{", ".join(predictions)}]}}'.encode()
    )


def _encode_json_lines(
    probabilities: Probabilities, classes: Classes, errors: Mapping[int, str]
) -> bytes:
    row_format, prediction_formats = _make_json_formats(classes)
    lines = []
    for row in probabilities.tolist():
        score = max(row)
        prediction = prediction_formats[row.index(score)] % score
        lines.append(f'{{"output": {row_format % tuple(row)}, "prediction": {prediction}}}')
    return "\n".join(_fill(lines, errors, _make_json_error)).encode()


@functools.lru_cache(maxsize=256)
def _make_json_formats(classes: Classes) -> tuple[str, list[str]]:
    """Make the format of a row of probabilities, and of a prediction of each class."""
    # Nine digits tell any two float32 apart.
    labels = [json.dumps(label).replace("%", "%%") for label in classes]
    predictions = [
        f'{{"label": {label}, "index": {index}, "score": %.9g}}'
        for index, label in enumerate(labels)
    ]
    return "[" + ", ".join(["%.9g"] * len(classes)) + "]", predictions


def _make_json_error(error: str) -> str:
    return json.dumps({"error": error})


def _encode_csv(probabilities: Probabilities, classes: Classes, errors: Mapping[int, str]) -> bytes:
    row_format = ",".join(["%.9g"] * len(classes))
    lines = [row_format % tuple(row) for row in probabilities.tolist()]
    # As many fields as in the other lines, all empty: what reads the file finds its columns, and no
    # value.
    return "\n".join(_fill(lines, errors, lambda _: "," * (len(classes) - 1))).encode()


def _encode_npy(probabilities: Probabilities, classes: Classes, errors: Mapping[int, str]) -> bytes:
    if errors:
        whole = np.full((len(probabilities) + len(errors), len(classes)), np.nan, np.float32)
        whole[[place for place in range(len(whole)) if place not in errors]] = probabilities
        probabilities = whole
    return _make_npy_header(probabilities.shape) + probabilities.tobytes()


@functools.lru_cache(maxsize=256)
def _make_npy_header(shape: tuple[int, ...]) -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        stream, {"descr": "<f4", "fortran_order": False, "shape": shape}
    )
    return stream.getvalue()


def _pixels(shape: Shape) -> int:
    return shape[0] * shape[1] * shape[2]


def _shapes(shape: Shape) -> str:
    """Say which shapes an array of images may have."""
    height, width, channels = shape
    possible = [f"[n, {_pixels(shape)}]", f"[n, {height}, {width}, {channels}]"]
    return " or ".join(possible + ([f"[n, {height}, {width}]"] if channels == 1 else []))


def _quote(text: str) -> str:
    """Quote a client's text for an error message, cut to a length that leaves room for the rest (RQ-6)."""
    return repr(text if len(text) <= 40 else text[:40] + "...")


DECODERS: Final[Mapping[str, Callable[[bytes, Shape, Mapping[str, str]], Images]]] = {
    CSV: _decode_csv,
    JSON: _decode_json,
    JSON_LINES: _decode_json_lines,
    NPY: _decode_npy,
    NPZ: _decode_npz,
    RECORDIO: _decode_recordio,
    PNG: _decode_png,
    JPEG: _decode_jpeg,
    BMP: _decode_bmp,
    MULTIPART: _decode_multipart,
}
ENCODERS: Final[Mapping[str, Callable[[Probabilities, Classes, Mapping[int, str]], bytes]]] = {
    JSON: _encode_json,
    JSON_LINES: _encode_json_lines,
    CSV: _encode_csv,
    NPY: _encode_npy,
}
