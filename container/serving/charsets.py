"""Text from the bytes of a body, in the charsets of the web."""

import codecs
from collections.abc import Iterator, Mapping
from encodings import normalize_encoding
from typing import AnyStr, Final

from container.errors import RequestError
from container.text import charset_rules

UTF_16_MARKS: Final = (b"\xff\xfe", b"\xfe\xff")
"""Byte order marks, with which spreadsheets save text in UTF-16; UTF-8 begins with neither."""
_PIECE_BYTES: Final = 65_536
_UTF_8: Final = frozenset({"utf_8", "utf8", "u8", "utf", "cp65001"})


def decode(body: bytes, parameters: Mapping[str, str]) -> str:
    """Decode a body by its charset, else by its byte order mark, which is left out.

    Raises: RequestError 415 if the charset is unknown, 400 if the body is not in it.
    """
    charset = _find_charset(body, parameters)
    try:
        return body.decode(charset)
    except (ValueError, LookupError) as error:
        raise _refuse(charset, error) from error


def decode_pieces(body: bytes, parameters: Mapping[str, str]) -> Iterator[str]:
    """Decode a body as `decode` does, piece by piece. Raises: RequestError as it does."""
    charset = _find_charset(body, parameters)
    try:
        decoder = codecs.getincrementaldecoder(charset)()
        for start in range(0, len(body), _PIECE_BYTES):
            yield decoder.decode(body[start : start + _PIECE_BYTES])
        yield decoder.decode(b"", final=True)
    except (ValueError, LookupError) as error:
        raise _refuse(charset, error) from error


def find_end(text: AnyStr, ends: AnyStr | None = None) -> int:
    """Return the length of a text without the white space, or the `ends`, at its end.

    It takes no copy of the text.
    """
    end = len(text)
    while end:
        tail = text[max(0, end - _PIECE_BYTES) : end]
        rest = len(tail.rstrip(ends))
        if rest:
            return end - len(tail) + rest
        end -= len(tail)
    return 0


def _find_charset(body: bytes, parameters: Mapping[str, str]) -> str:
    charset = parameters.get("charset", "")
    if not charset:
        charset = "utf-16" if body.startswith(UTF_16_MARKS) else "utf-8"
    name = normalize_encoding(charset).lower()
    if name not in _UTF_8 and not charset_rules.is_charset(charset):
        raise RequestError(415, f"the charset {charset[:40]!r} is not supported; send utf-8")
    return "utf-8-sig" if name in _UTF_8 else charset


def _refuse(charset: str, error: Exception) -> RequestError:
    name = charset[:40].removesuffix("-sig")
    return RequestError(400, f"the body is not text in {name}: {error}")
