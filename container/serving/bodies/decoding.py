"""From a request's body to images: the decoder of each media type, and bodies of several parts."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

import numpy as np

from container.errors import RequestError
from container.serving.bodies import arrays, media_types, pictures, text
from container.serving.bodies.negotiation import MediaType, parse_media_type
from container.serving.bodies.pixels import Images, Shape

Decoder: TypeAlias = Callable[[bytes, Shape, Mapping[str, str]], Images]
"""Takes the body, the shape of one image and the parameters of the content type."""

_PART_TYPE: Final = re.compile(rb"^content-type:[ \t]*([^\r\n]*)", re.IGNORECASE | re.MULTILINE)


@functools.cache
def find_decoder(name: str) -> Decoder:
    """Return the decoder of a media type.

    Raises: RequestError 415 if there is none.
    """
    if name in DECODERS:
        return DECODERS[name]
    given = f"content type {name!r}" if name else "a request without a content type"
    raise RequestError(415, f"{given} is not supported; supported: {', '.join(DECODERS)}")


def decode(media_type: MediaType, body: bytes, shape: Shape) -> Images:
    """Decode a request body into images of `shape`.

    Raises: RequestError 415 if there is no decoder for the media type, 400 for a fault of the body.
    """
    decoder = find_decoder(media_type.name)
    if not body:
        raise refuse_empty(media_type.name)
    return decoder(body, shape, media_type.parameters)


def refuse_empty(name: str) -> RequestError:
    """Return the error for an empty body."""
    return RequestError(400, f"the body is empty; {name} of at least one image is expected")


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


def _decode_multipart(body: bytes, shape: Shape, parameters: Mapping[str, str]) -> Images:
    """Decode the parts in their order; each names its own content type."""
    boundary = parameters.get("boundary", "")
    if not boundary:
        raise RequestError(400, "the content type multipart/form-data has no boundary")
    delimiter = b"\r\n--" + boundary.encode("latin-1", "replace")
    pieces = (b"\r\n" + body).split(delimiter)
    if len(pieces) < 3 or not pieces[-1].startswith(b"--"):
        message = "the multipart body holds no part, or its closing boundary is missing"
        raise RequestError(400, message)
    images = []
    for number, piece in enumerate(pieces[1:-1], start=1):
        head, _, content = piece.partition(b"\r\n\r\n")
        found = _PART_TYPE.search(head)
        media_type = parse_media_type(found[1].decode("latin-1") if found else "")
        if media_type.name == media_types.MULTIPART:
            raise RequestError(415, f"part {number}: a part cannot hold parts of its own")
        try:
            images.append(decode(media_type, content, shape))
        except RequestError as error:
            raise RequestError(error.status, f"part {number}: {error}") from None
    return np.concatenate(images)


LINES: Final = {media_types.CSV: text.decode_csv, media_types.JSON_LINES: text.decode_json_lines}
"""Media types with one image a line."""

DECODERS: Final[Mapping[str, Decoder]] = {
    media_types.CSV: text.decode_csv,
    media_types.JSON: text.decode_json,
    media_types.JSON_LINES: text.decode_json_lines,
    media_types.NPY: arrays.decode_npy,
    media_types.NPZ: arrays.decode_npz,
    media_types.RECORDIO: arrays.decode_recordio,
    media_types.PNG: functools.partial(pictures.decode, "PNG"),
    media_types.JPEG: functools.partial(pictures.decode, "JPEG"),
    media_types.BMP: functools.partial(pictures.decode, "BMP"),
    media_types.MULTIPART: _decode_multipart,
}
