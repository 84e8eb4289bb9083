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
from container.serving.bodies.expansion import Expansion
from container.serving.bodies.negotiation import MediaType, parse_media_type
from container.serving.bodies.pixels import Images, Shape

Decoder: TypeAlias = Callable[[bytes, Shape, Mapping[str, str]], Images]
"""Takes the body, the shape of one image and the parameters of the content type."""
PackedDecoder: TypeAlias = Callable[[bytes, Shape, Mapping[str, str], Expansion], Images]
"""Takes also what the body may expand to."""

_PART_HEAD_BYTES_MAXIMUM: Final = 8192
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

    Raises: RequestError as `decode` does, for what is not the fault of a line.
    """
    decoder = LINES[media_type.name]
    images = [np.empty((0, *shape), np.uint8)]
    errors = {}
    for number, line in enumerate(text.split_lines(body, media_type.parameters)):
        try:
            images.append(decoder(line, shape, {}, first=number + 1))
        except RequestError as error:
            errors[number] = str(error)
    return np.concatenate(images), errors


def _decode_multipart(
    body: bytes, shape: Shape, parameters: Mapping[str, str], expansion: Expansion
) -> Images:
    """Decode the parts in their order; each names its own content type."""
    boundary = parameters.get("boundary", "")
    if not boundary:
        raise RequestError(400, "the content type multipart/form-data has no boundary")
    images: list[Images] = []
    for number, part in enumerate(_split_parts(body, boundary), start=1):
        head, _, content = part.partition(b"\r\n\r\n")
        if len(head) > _PART_HEAD_BYTES_MAXIMUM:
            allowed = f"{_PART_HEAD_BYTES_MAXIMUM} are allowed"
            raise RequestError(400, f"part {number} has a head of {len(head)} bytes; {allowed}")
        found = _PART_TYPE.search(head)
        media_type = parse_media_type(found[1].decode("latin-1") if found else "")
        if media_type.name == media_types.MULTIPART:
            raise RequestError(415, f"part {number}: a part cannot hold parts of its own")
        try:
            if images and media_type.name in media_types.PICTURES:
                expansion.take(math.prod(shape))
            images.append(decode(media_type, content, shape, expansion))
        except RequestError as error:
            raise RequestError(error.status, f"part {number}: {error}") from None
    return np.concatenate(images)


def _split_parts(body: bytes, boundary: str) -> Iterator[bytes]:
    """Yield the parts, without a copy of them all.

    Raises: RequestError 400 if there is none, or the closing boundary is missing.
    """
    body = b"\r\n" + body
    delimiter = b"\r\n--" + boundary.encode("latin-1", "replace")
    end = body.find(delimiter)
    last = body.rfind(delimiter)
    if end == last or not body.startswith(b"--", last + len(delimiter)):
        message = "the multipart body holds no part, or its closing boundary is missing"
        raise RequestError(400, message)
    while end < last:
        start = end + len(delimiter)
        end = body.find(delimiter, start)
        yield body[start:end]


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
