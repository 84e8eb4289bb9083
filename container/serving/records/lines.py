"""The lines of a text body, in UTF-8.

Rules of this file: pure; every fault is a RequestError.
"""

import codecs
from collections.abc import Iterator, Mapping
from typing import Final

from container.errors import RequestError
from container.serving import charsets
from container.serving.records import counts

_BLOCK_BYTES: Final = 131_072
_CHARSETS: Final = frozenset(
    ["utf-8", "utf8", "utf-8-sig", "us-ascii", "ascii", "iso-8859-1", "latin-1", "latin1", "utf-16"]
)


def split(body: bytes, parameters: Mapping[str, str]) -> Iterator[bytes]:
    """Yield the lines of a text body, in UTF-8.

    Raises: RequestError 413 if there are too many to be decoded one by one.
    """
    body = to_utf8(body, parameters)
    end = charsets.find_end(body)
    counts.check_records(body.count(b"\n", 0, end), len(body), "lines")
    start = 0
    while start <= end:
        stop = body.find(b"\n", start, end)
        if stop < 0:
            stop = end
        yield body[start:stop]
        start = stop + 1


def to_utf8(body: bytes, parameters: Mapping[str, str]) -> bytes:
    """Turn a text body into UTF-8 without a byte order mark."""
    charset = parameters.get("charset", "").lower()
    if not charset:
        charset = "utf-16" if body.startswith(charsets.UTF_16_MARKS) else "utf-8"
    if charset not in _CHARSETS:
        supported = "supported: utf-8, utf-16, iso-8859-1"
        raise RequestError(415, f"charset {charset[:40]!r} is not supported; {supported}")
    if charset == "utf-16":
        return _from_utf16(body)
    return body.removeprefix(b"\xef\xbb\xbf")


def _from_utf16(body: bytes) -> bytes:
    """Turn UTF-16 into ASCII, with question marks for the characters of which no number is made.

    It goes piece by piece: one rare character makes a text four times as wide.
    """
    decoder = codecs.getincrementaldecoder("utf-16")()
    pieces = []
    try:
        for start in range(0, len(body), _BLOCK_BYTES):
            piece = body[start : start + _BLOCK_BYTES]
            pieces.append(decoder.decode(piece).encode("ascii", "replace"))
        pieces.append(decoder.decode(b"", final=True).encode("ascii", "replace"))
    except ValueError:
        raise RequestError(
            400, "the body is not utf-16, as its content type or byte order mark says"
        ) from None
    return b"".join(pieces)
