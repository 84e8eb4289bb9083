"""Content negotiation: the parts of a `Content-Type`, and the media type that an `Accept` prefers.

Rules of this file: pure; knows no media type by name. Results are cached, because clients repeat
their headers (RQ-3, RQ-4); what is cached or takes time is bounded.
"""

import functools
import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from container.errors import RequestError

_CHARACTERS_MAXIMUM: Final = 1024  # RQ-2: a header has at most so many
_SEMICOLON: Final = re.compile(r'"(?:\\.|[^"\\])*"?|;')
_COMMA: Final = re.compile(r'"(?:\\.|[^"\\])*"?|,')


class MediaType(NamedTuple):
    """A media type in lower case and its parameters, names in lower case."""

    name: str
    parameters: dict[str, str]


@functools.lru_cache(maxsize=256)
def parse_media_type(text: str) -> MediaType:
    """Parse `text/csv; charset=utf-8`; callers share the parameters and must not change them.

    Raises: RequestError 400 if the text is too long.
    """
    _check_length(text)
    name, *rest = _split(text, _SEMICOLON)
    parameters = {}
    for part in rest:
        key, equals, value = part.partition("=")
        if equals:
            parameters[key.strip().lower()] = _unquote(value.strip())
    return MediaType(name.strip().lower(), parameters)


@functools.lru_cache(maxsize=256)
def choose(accept: str, offered: tuple[str, ...]) -> str | None:
    """Return the offered media type that `accept` prefers, or None if it accepts none of them.

    The most specific range that matches a type decides its quality; equal qualities go to the one
    offered first, and a range of quality 0 excludes (RFC 9110, 12.5.1). An empty `accept` accepts
    everything.

    Raises: RequestError 400 if `accept` is too long.
    """
    _check_length(accept)
    ranges = [parse_media_type(part) for part in _split(accept, _COMMA) if part.strip()]
    if not ranges:
        return offered[0]
    best = max(offered, key=lambda name: _find_quality(name, ranges))  # the first of equals
    return best if _find_quality(best, ranges) > 0 else None


@functools.lru_cache(maxsize=256)
def find_preferred(accept: str, default: str) -> str:
    """Return the media type that `accept` wants most, a single one as it came.

    `default` stands for a wildcard and for an empty `accept`.

    Raises: RequestError 400 if `accept` is too long.
    """
    _check_length(accept)
    if not any(mark in accept for mark in ",;*"):
        return accept.strip() or default
    best = default
    best_quality = 0.0
    for part in _split(accept, _COMMA):
        name, parameters = parse_media_type(part)
        quality = _parse_quality(parameters.get("q", "1"))
        if name and quality > best_quality:
            best = default if "*" in name else name
            best_quality = quality
    return best


def split_accept(accept: str) -> list[str]:
    """Split an `Accept` into its ranges. Raises: RequestError 400 if it is too long."""
    _check_length(accept)
    return _split(accept, _COMMA)


def _check_length(text: str) -> None:
    if len(text) > _CHARACTERS_MAXIMUM:
        message = (
            f"Accept or Content-Type has {len(text)} characters; {_CHARACTERS_MAXIMUM} are possible"
        )
        raise RequestError(400, message)


def _find_quality(name: str, ranges: Sequence[MediaType]) -> float:
    for matching in ((name,), (name.partition("/")[0] + "/*",), ("*/*", "*")):
        for pattern, parameters in ranges:
            if pattern in matching:
                return _parse_quality(parameters.get("q", "1"))
    return 0.0


def _parse_quality(text: str) -> float:
    """Parse a q-value; anything but a number from 0 to 1 counts as 1."""
    try:
        quality = float(text)
    except ValueError:
        return 1.0
    return quality if 0 <= quality <= 1 else 1.0


def _split(text: str, separator: re.Pattern[str]) -> list[str]:
    """Split at separators outside quotation marks."""
    pieces = []
    start = 0
    for found in separator.finditer(text):
        if found[0][0] != '"':
            pieces.append(text[start : found.start()])
            start = found.end()
    return [*pieces, text[start:]]


def _unquote(text: str) -> str:
    if len(text) < 2 or text[0] != '"' or text[-1] != '"':
        return text
    return text[1:-1].replace('\\"', '"').replace("\\\\", "\\")
