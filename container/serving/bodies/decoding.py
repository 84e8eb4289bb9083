"""From a request's body to images: the decoder of each media type, and bodies of several parts."""

import functools
import itertools
import math
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple, TypeAlias

import numpy as np

from container import contract
from container.errors import RequestError
from container.serving.bodies import arrays, encoded_pictures, media_types, pictures, pixels, text
from container.serving.bodies.content_encoding import Expansion
from container.serving.bodies.negotiation import MediaType, parse_media_type
from container.serving.bodies.pixels import Images, Shape
from container.serving.bodies.unusual_text import EncodedPicturesError
from container.serving.records import columnar, libsvm, lines, multipart
from container.serving.records.table import Table

Decoder: TypeAlias = Callable[[bytes, Shape, Mapping[str, str]], Images]
"""Takes the body, the shape of one image and the parameters of the content type."""


class Takes(NamedTuple):
    """What a decoder is asked for."""

    shape: Shape
    """Of one image."""
    parameters: Mapping[str, str]
    """Of the content type."""
    expansion: Expansion
    resize: str = "refuse"
    """What is done with a picture of another size: one of `geometry.POLICIES`."""


PackedDecoder: TypeAlias = Callable[[bytes, Takes], Images]

_PARTS_TOGETHER: Final = 256
_VALUES_TOGETHER: Final = 65_536
# Each is answered with its error, which may be a hundred times as long, and which takes Python.
_BAD_LINES_MAXIMUM: Final = 50_000
_BAD_BYTES_MAXIMUM: Final = 8 << 20


def decode(
    media_type: MediaType,
    body: bytes,
    shape: Shape,
    expansion: Expansion | None = None,
    resize: str = "refuse",
) -> Images:
    """Decode a request body into images of `shape`.

    `expansion` is for what may expand; `resize` says what is done with pictures of another size.

    Raises: RequestError 415 if there is no decoder for the media type, 413 if the body expands too
    far, 400 for any other fault of the body.
    """
    name = media_types.unify(media_type.name)
    parameters = media_type.parameters
    if name not in SUPPORTED:
        given = f"content type {name!r}" if name else "a request without a content type"
        raise RequestError(415, f"{given} is not supported; supported: {', '.join(SUPPORTED)}")
    if not body:
        raise RequestError(400, f"the body is empty; {name} of at least one image is expected")
    takes = Takes(shape, parameters, expansion or Expansion(), resize)
    if name not in PLAIN:
        return _PACKED[name](body, takes)
    try:
        return PLAIN[name](body, shape, parameters)
    except EncodedPicturesError:
        return _decode_encoded(body, takes, is_lines=name == media_types.JSON_LINES)


def decode_with_faults(
    media_type: MediaType,
    body: bytes,
    shape: Shape,
    expansion: Expansion | None = None,
    resize: str = "refuse",
) -> tuple[Images, dict[int, str]]:
    """Decode a body; if it is of `LINES`, also return the fault of each bad line, from line 0 on.

    Each line is a record, so the first one of CSV is not a header, whatever the content type says.

    Raises: RequestError as `decode` does, for what is not the fault of a line; 400 if more lines
    are bad, or longer ones, than a request may have.
    """
    name, parameters = media_type
    if name == media_types.CSV:
        media_type = MediaType(name, {**parameters, **text.WITHOUT_HEADER})
    expansion = expansion or Expansion()
    before = expansion.copy()
    try:
        return decode(media_type, body, shape, expansion, resize), {}
    except RequestError as error:
        if error.status != 400 or name not in LINES or not body:
            raise
    # Nothing is kept of the first attempt.
    takes = Takes(shape, text.WITHOUT_HEADER, before, resize)
    return _decode_lines(media_type, body, takes)


def _decode_lines(
    media_type: MediaType, body: bytes, takes: Takes
) -> tuple[Images, dict[int, str]]:
    name = media_type.name
    if name == media_types.JSON_LINES:
        encoded_pictures.check_count(body)
    decoded = bytearray()
    errors = {}
    bad_bytes = 0
    for number, line in enumerate(lines.split(body, media_type.parameters)):
        try:
            decoded += _decode_line(name, line, number, takes).data
        except RequestError as error:
            if error.status == 413:
                raise
            errors[number] = str(error)
            bad_bytes += len(line)
            if len(errors) > _BAD_LINES_MAXIMUM or bad_bytes > _BAD_BYTES_MAXIMUM:
                message = f"{len(errors)} records of {bad_bytes} bytes cannot be decoded"
                allowed = f"{_BAD_LINES_MAXIMUM} of {_BAD_BYTES_MAXIMUM} bytes are allowed"
                raise RequestError(400, f"{message}; {allowed}; the last: {error}") from None
    return np.frombuffer(decoded, np.uint8).reshape(-1, *takes.shape), errors


def _decode_line(name: str, line: bytes, number: int, takes: Takes) -> Images:
    try:
        return LINES[name](line, takes.shape, takes.parameters, first=number + 1)
    except EncodedPicturesError:
        return _decode_encoded(line, takes, is_lines=True)


def _decode_multipart(body: bytes, takes: Takes) -> Images:
    """Decode the parts in their order; each names its own content type, or is known by itself."""
    images: list[Images] = []
    small: list[Images] = []
    for number, part in enumerate(multipart.split(body, takes.parameters), start=1):
        given = parse_media_type(part.content_type)
        name = media_types.name_part(given.name, part.file_name, part.content)
        if name == media_types.MULTIPART:
            raise RequestError(415, f"part {number}: a part cannot hold parts of its own")
        try:
            if name == media_types.NPY:  # decoded without a copy
                small.append(arrays.decode_npy(part.content, takes.shape, given.parameters))
            else:
                kind = MediaType(name, given.parameters)
                content = bytes(part.content)
                small.append(decode(kind, content, takes.shape, takes.expansion, takes.resize))
        except RequestError as error:
            raise RequestError(error.status, f"part {number}: {error}") from None
        if len(small) == _PARTS_TOGETHER:  # an array takes as much memory as a small picture
            images.append(np.concatenate(small))
            small.clear()
    images += small
    return np.concatenate(images) if len(images) > 1 else images[0]


def _decode_picture(body: bytes, takes: Takes) -> Images:
    expansion = takes.expansion
    return pictures.decode_any(
        body,
        takes.shape,
        resize=takes.resize,
        bytes_maximum=max(expansion.maximum, contract.REALTIME_PAYLOAD_BYTES),
        charge=expansion.take_picture,
    )


def _decode_encoded(body: bytes, takes: Takes, *, is_lines: bool) -> Images:
    body = lines.to_utf8(body, takes.parameters)
    return encoded_pictures.decode(
        body, takes.shape, takes.expansion, takes.resize, is_lines=is_lines
    )


def _decode_libsvm(body: bytes, takes: Takes) -> Images:
    columns = math.prod(takes.shape)
    decoded = bytearray()
    first_index = libsvm.read_first_index(takes.parameters)
    rows = libsvm.decode(lines.split(body, takes.parameters), first_index, columns)
    rows_together = 1 + _VALUES_TOGETHER // columns
    while block := list(itertools.islice(rows, rows_together)):
        takes.expansion.take(columns * len(block))
        decoded += pixels.scale(np.stack(block), len(decoded) // columns + 1).data
    return np.frombuffer(decoded, np.uint8).reshape(-1, *takes.shape)


def _decode_table(
    read: Callable[[bytes, columnar.Charge], Table], body: bytes, takes: Takes
) -> Images:
    rows = read(body, takes.expansion.take).to_array()
    if rows.dtype.kind not in "iufb":
        raise RequestError(400, f"a column of the table is text; {pixels.TWO_FORMS}")
    return pixels.from_array(rows, takes.shape)


LINES: Final = {media_types.CSV: text.decode_csv, media_types.JSON_LINES: text.decode_json_lines}
"""Media types with one image a line."""

PLAIN: Final[Mapping[str, Decoder]] = {
    media_types.CSV: text.decode_csv,
    media_types.JSON: text.decode_json,
    media_types.JSON_LINES: text.decode_json_lines,
    media_types.NPY: arrays.decode_npy,
    media_types.RECORDIO: arrays.decode_recordio,
}
"""The decoders of media types whose bodies do not expand, and which depend only on the shape."""
_PACKED: Final[Mapping[str, PackedDecoder]] = {
    **dict.fromkeys(
        (media_types.PNG, media_types.JPEG, media_types.BMP, media_types.PICTURE), _decode_picture
    ),
    media_types.NPZ: lambda body, takes: arrays.decode_npz(
        body, takes.shape, takes.parameters, takes.expansion
    ),
    media_types.MULTIPART: _decode_multipart,
    media_types.LIBSVM: _decode_libsvm,
    media_types.PARQUET: functools.partial(_decode_table, columnar.decode_parquet),
    media_types.ARROW: functools.partial(_decode_table, columnar.decode_arrow),
}
SUPPORTED: Final = (*PLAIN, *_PACKED)
"""The media types of request bodies."""
