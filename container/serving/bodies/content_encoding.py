"""The content encoding of a body, the limit on its size, and how far it may expand (SEC-6)."""

from __future__ import annotations

import copy
import io
import zlib
from collections.abc import Mapping
from typing import Final

from container import contract
from container.errors import RequestError

# bgzip writes a member for every 64 kB, and pigz one for a file.
_MEMBERS_MAXIMUM: Final = 4096
# zlib copies what follows a member in the bytes that it is given.
_FEED_BYTES: Final = 65_536
_PIECE_BYTES: Final = 1 << 20


class Expansion:
    """The bytes that one request may still expand to; its encoding, archive and parts share it."""

    __slots__ = ("_has_picture", "maximum", "room")

    def __init__(self, bytes_maximum: int = contract.REALTIME_PAYLOAD_BYTES) -> None:
        self.maximum = bytes_maximum
        self.room = bytes_maximum
        self._has_picture = False

    def copy(self) -> Expansion:
        """Return a budget with the same room, for another attempt."""
        return copy.copy(self)

    def take(self, count: int) -> None:
        """Account for `count` bytes; call it before they are unpacked, where that is possible.

        Raises: RequestError 413 if there is not enough room.
        """
        self.room -= count
        if self.room < 0:
            raise RequestError(
                413,
                f"the body expands to more than {self.maximum} bytes; "
                f"{contract.MAX_PAYLOAD_VARIABLE} sets the limit",
            )

    def take_picture(self, count: int) -> None:
        """Account for a picture; the first of a request has a limit of its own.

        Raises: RequestError 413 if there is not enough room.
        """
        if self._has_picture:
            self.take(count)
        self._has_picture = True


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


def undo(body: bytes, headers: Mapping[str, str], bytes_maximum: int) -> bytes:
    """Undo the `Content-Encoding` of a request, if it has one; `headers` has lower-case names.

    Raises: RequestError as `decode` does.
    """
    if "content-encoding" not in headers:
        return body
    return decode(body, headers["content-encoding"], Expansion(bytes_maximum))


def _decode_gzip(body: memoryview, expansion: Expansion) -> bytes:
    decoded = io.BytesIO()  # whose value is returned without a copy
    position = 0
    members = 0
    while position < len(body):  # one member may follow another
        members += 1
        if members > _MEMBERS_MAXIMUM:
            raise RequestError(400, f"the gzip body has more than {_MEMBERS_MAXIMUM} members")
        stream = zlib.decompressobj(wbits=31)
        while not stream.eof:
            fed = body[position : position + _FEED_BYTES]
            piece = stream.decompress(fed, min(expansion.room + 1, _PIECE_BYTES))
            if not fed and not piece:
                raise RequestError(400, "the gzip body is cut off")
            expansion.take(len(piece))
            decoded.write(piece)
            # At the end of a member `unconsumed_tail` may hold what `unused_data` does.
            left = stream.unused_data if stream.eof else stream.unconsumed_tail
            position += len(fed) - len(left)
    return decoded.getvalue()


def describe_limit(payload_bytes: int) -> str:
    """Return the message for a body that is too large (HO-9)."""
    return (
        f"the body is larger than {payload_bytes} bytes; "
        f"{contract.MAX_PAYLOAD_VARIABLE} sets the limit"
    )
