"""The content encoding of a body, and the limit on its size."""

from __future__ import annotations

import zlib
from typing import Final

from container import contract
from container.errors import RequestError
from container.serving.bodies.expansion import Expansion

# bgzip writes a member for every 64 kB, and pigz one for a file.
_MEMBERS_MAXIMUM: Final = 4096
# zlib copies what follows a member in the bytes that it is given.
_FEED_BYTES: Final = 65_536


def decode(body: bytes, encoding: str, expansion: Expansion) -> bytes:
    """Undo a body's `Content-Encoding`.

    Raises: RequestError 415 for an encoding other than gzip, 413 if it expands too far, 400 if the
    body is not complete gzip or has too many members.
    """
    name = encoding.strip().lower()
    if name in ("", "identity"):
        return body
    if name not in ("gzip", "x-gzip"):
        message = f"content encoding {encoding[:40]!r} is not supported; supported: gzip, identity"
        raise RequestError(415, message)
    try:
        return _decode_gzip(memoryview(body), expansion)
    except zlib.error:
        raise RequestError(400, "the body is not gzip, as its content encoding says") from None


def _decode_gzip(body: memoryview, expansion: Expansion) -> bytes:
    pieces = []
    position = 0
    members = 0
    while position < len(body):  # one member may follow another
        members += 1
        if members > _MEMBERS_MAXIMUM:
            message = f"the gzip body has more than {_MEMBERS_MAXIMUM} members"
            raise RequestError(400, message)
        stream = zlib.decompressobj(wbits=31)
        while not stream.eof:
            fed = body[position : position + _FEED_BYTES]
            if not fed:
                raise RequestError(400, "the gzip body is cut off")
            piece = stream.decompress(fed, expansion.room + 1)
            expansion.take(len(piece))
            pieces.append(piece)
            position += len(fed)
        position -= len(stream.unused_data)
    return b"".join(pieces)


def describe_limit(payload_bytes: int) -> str:
    """Return the message for a body that is too large (HO-9)."""
    return (
        f"the body is larger than {payload_bytes} bytes; "
        f"{contract.MAX_PAYLOAD_VARIABLE} sets the limit"
    )
