"""From a request's body to images: the decoder of each media type, and bodies of several parts."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Final, TypeAlias

import numpy as np

from container.errors import RequestError
from container.serving.bodies import arrays, media_types, pictures, text
from container.serving.bodies.content_encoding import Expansion
from container.serving.bodies.negotiation import MediaType, parse_media_type
from container.serving.bodies.pixels import Images, Shape

Decoder: TypeAlias = Callable[[bytes, Shape, Mapping[str, str]], Images]
"""Takes the body, the shape of one image and the parameters of the content type."""
PackedDecoder: TypeAlias = Callable[[bytes, Shape, Mapping[str, str], Expansion], Images]
"""Takes also what the body may expand to."""

_PART_HEAD_BYTES_MAXIMUM: Final = 8192
_PARTS_TOGETHER: Final = 256
# Each is answered with its error, which may be a hundred times as long.
_BAD_LINES_MAXIMUM: Final = 50_000
_PART_TYPE: Final = re.compile(rb"^content-type:[ \t]*([^\r\n]*)", re.IGNORECASE | re.MULTILINE)


def decode(
    media_type: MediaType, body: bytes, shape: Shape, expansion: Expansion | None = None
) -> Images:
    """Decode a request body into images of `shape`; `expansion` is for media types of `PACKED`.

    Raises: RequestError 415 if there is no decoder for the media type, 413 if the body expands too
    far, 400 for any other fault of the body.
    """
    name, parameters = media_type
    if name not in SUPPORTED:
        given = f"content type {name!r}" if name else "a request without a content type"
        raise RequestError(415, f"{given} is not supported; supported: {', '.join(SUPPORTED)}")
    if not body:
        raise RequestError(400, f"the body is empty; {name} of at least one image is expected")
    if name in PLAIN:
        return PLAIN[name](body, shape, parameters)
    return _PACKED[name](body, shape, parameters, expansion or Expansion())


def decode_lines(media_type: MediaType, body: bytes, shape: Shape) -> tuple[Images, dict[int, str]]:
    """Decode each line of a body of `LINES` by itself.

    Returns the images of the good lines, and the fault of each bad line by its number from 0.

    Raises: RequestError as `decode` does, for what is not the fault of a line; 400 if more lines
    are bad than a request may have.
    """
    decoder = LINES[media_type.name]
    decoded = bytearray()
    errors = {}
    for number, line in enumerate(text.split_lines(body, media_type.parameters)):
        try:
            decoded += decoder(line, shape, {}, first=number + 1).data
        except RequestError as error:
            errors[number] = str(error)
            if len(errors) > _BAD_LINES_MAXIMUM:
                message = f"more than {_BAD_LINES_MAXIMUM} records cannot be decoded"
                raise RequestError(400, f"{message}; the last: {error}") from None
    return np.frombuffer(decoded, np.uint8).reshape(-1, *shape), errors


def _decode_multipart(
    body: bytes, shape: Shape, parameters: Mapping[str, str], expansion: Expansion
) -> Images:
    """Decode the parts in their order; each names its own content type."""
    boundary = parameters.get("boundary", "")
    if not boundary:
        raise RequestError(400, "the content type multipart/form-data has no boundary")
    images: list[Images] = []
    small: list[Images] = []
    for number, (head, content) in enumerate(_split_parts(body, boundary), start=1):
        found = _PART_TYPE.search(head)
        media_type = parse_media_type(found[1].decode("latin-1") if found else "")
        if media_type.name == media_types.MULTIPART:
            raise RequestError(415, f"part {number}: a part cannot hold parts of its own")
        try:
            if number > 1 and media_type.name in media_types.PICTURES:
                expansion.take(math.prod(shape))
            if media_type.name == media_types.NPY:  # decoded without a copy
                small.append(arrays.decode_npy(content, shape, media_type.parameters))
            else:
                small.append(decode(media_type, bytes(content), shape, expansion))
        except RequestError as error:
            raise RequestError(error.status, f"part {number}: {error}") from None
        if len(small) == _PARTS_TOGETHER:  # an array takes as much memory as a small picture
            images.append(np.concatenate(small))
            small.clear()
    images += small
    return np.concatenate(images) if len(images) > 1 else images[0]


def _split_parts(body: bytes, boundary: str) -> Iterator[tuple[bytes, memoryview]]:
    """Yield head and content of each part.

    Raises: RequestError 400 if there is none, its head is too long, or the closing boundary is
    missing.
    """
    delimiter = b"\r\n--" + boundary.encode("latin-1", "replace")
    end = body.find(delimiter)
    if body.startswith(delimiter[2:]):  # nothing, not even a line, comes before the first part
        end = -2
    last = max(end, body.rfind(delimiter))
    if end == last or not body.startswith(b"--", last + len(delimiter)):
        message = "the multipart body holds no part, or its closing boundary is missing"
        raise RequestError(400, message)
    number = 0
    while end < last:
        number += 1
        start = end + len(delimiter)
        end = body.find(delimiter, start)
        head_end = body.find(b"\r\n\r\n", start, end)
        head_end = end if head_end < 0 else head_end
        if head_end - start > _PART_HEAD_BYTES_MAXIMUM:
            found = f"part {number} has a head of {head_end - start} bytes"
            raise RequestError(400, f"{found}; {_PART_HEAD_BYTES_MAXIMUM} are allowed")
        yield body[start:head_end], memoryview(body)[head_end + 4 : end]


LINES: Final = {media_types.CSV: text.decode_csv, media_types.JSON_LINES: text.decode_json_lines}
"""Media types with one image a line."""

PLAIN: Final[Mapping[str, Decoder]] = {
    media_types.CSV: text.decode_csv,
    media_types.JSON: text.decode_json,
    media_types.JSON_LINES: text.decode_json_lines,
    media_types.NPY: arrays.decode_npy,
    media_types.RECORDIO: arrays.decode_recordio,
    media_types.PNG: functools.partial(pictures.decode, "PNG"),
    media_types.JPEG: functools.partial(pictures.decode, "JPEG"),
    media_types.BMP: functools.partial(pictures.decode, "BMP"),
}
"""The decoders of media types whose bodies do not expand."""
_PACKED: Final[Mapping[str, PackedDecoder]] = {
    media_types.NPZ: arrays.decode_npz,
    media_types.MULTIPART: _decode_multipart,
}
SUPPORTED: Final = (*PLAIN, *_PACKED)
"""The media types of request bodies."""
