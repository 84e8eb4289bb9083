"""Text from the bytes of a body, in the charsets of the web."""

from __future__ import annotations

from collections.abc import Mapping
from encodings import normalize_encoding
from encodings.aliases import aliases
from typing import Final

from container.errors import RequestError

# Those of Python that have another name. The others, such as idna and punycode, are not charsets of
# the web, and some take the square of a body's length; Python keeps each unknown name for ever.
_CHARSETS: Final = frozenset({*aliases, *aliases.values()})
UTF_16_MARKS: Final = (b"\xff\xfe", b"\xfe\xff")
"""Byte order marks, with which spreadsheets save text in UTF-16; UTF-8 begins with neither."""
_UTF_8: Final = frozenset({"utf_8", "utf8", "u8", "utf", "cp65001"})


def decode(body: bytes, parameters: Mapping[str, str]) -> str:
    """Decode a body by its charset, else by its byte order mark, which is left out.

    Raises: RequestError 400 if the charset is unknown, or the body is not in it.
    """
    charset = parameters.get("charset", "")
    if not charset:
        charset = "utf-16" if body.startswith(UTF_16_MARKS) else "utf-8"
    name = normalize_encoding(charset).lower()
    if name not in _CHARSETS:
        raise RequestError(400, f"the charset {charset[:40]!r} is not supported; send utf-8")
    try:
        return body.decode("utf-8-sig" if name in _UTF_8 else charset)
    except (ValueError, LookupError) as error:
        message = f"the body is not text in {charset[:40]}: {error}"
        raise RequestError(400, message) from error
