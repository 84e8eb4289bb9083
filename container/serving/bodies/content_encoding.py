"""The content encoding of a body, and the limit on its size."""

from __future__ import annotations

import zlib

from container import contract
from container.errors import RequestError


def decode(body: bytes, encoding: str, bytes_maximum: int) -> bytes:
    """Undo a body's `Content-Encoding`.

    Raises: RequestError 415 for an encoding other than gzip, 413 if more than `bytes_maximum` bytes
    come out, 400 if the body is not complete gzip.
    """
    name = encoding.strip().lower()
    if name in ("", "identity"):
        return body
    if name not in ("gzip", "x-gzip"):
        message = f"content encoding {encoding[:40]!r} is not supported; supported: gzip, identity"
        raise RequestError(415, message)
    pieces = []
    room = bytes_maximum
    while body:  # one gzip stream may follow another
        stream = zlib.decompressobj(wbits=31)
        try:
            piece = stream.decompress(body, room + 1)
        except zlib.error:
            raise RequestError(400, "the body is not gzip, as its content encoding says") from None
        pieces.append(piece)
        room -= len(piece)
        if room < 0:
            raise RequestError(413, describe_limit(bytes_maximum))
        if not stream.eof:
            raise RequestError(400, "the gzip body is cut off")
        body = stream.unused_data
    return b"".join(pieces)


def describe_limit(payload_bytes: int) -> str:
    """Return the message for a body that is too large (HO-9)."""
    return (
        f"the body is larger than {payload_bytes} bytes; "
        f"{contract.MAX_PAYLOAD_VARIABLE} sets the limit"
    )
