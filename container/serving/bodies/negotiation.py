"""Content negotiation: what a `Content-Type` says, and which of our media types an `Accept` prefers (RQ-3, RQ-4).

Rules of this file: pure; knows no media type by name. Results are cached, because a client repeats
its headers.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import NamedTuple


class MediaType(NamedTuple):
    """A media type in lower case and its parameters, names in lower case."""

    name: str
    parameters: dict[str, str]


@functools.lru_cache(maxsize=256)
def parse_media_type(text: str) -> MediaType:
    """Read `text/csv; charset=utf-8`; the parameters must not be written to."""
    name, *rest = _split(text, ";")
    parameters = {}
    for part in rest:
        key, equals, value = part.partition("=")
        if equals:
            parameters[key.strip().lower()] = _unquote(value.strip())
    return MediaType(name.strip().lower(), parameters)


@functools.lru_cache(maxsize=256)
def choose(accept: str, offered: tuple[str, ...]) -> str | None:
    """Give the offered media type that `accept` prefers, or None if it accepts none of them.

    The most specific range that matches a type decides its quality; equal qualities go to the one
    offered first, and a range of quality 0 excludes (RFC 9110, 12.5.1). An empty `accept` accepts
    everything.
    """
    ranges = [parse_media_type(part) for part in _split(accept, ",") if part.strip()]
    if not ranges:
        return offered[0]
    best, best_quality = None, 0.0
    for name in offered:
        quality = _quality(name, ranges)
        if quality > best_quality:
            best, best_quality = name, quality
    return best


def _quality(name: str, ranges: Sequence[MediaType]) -> float:
    specificity, quality = -1, 0.0
    for pattern, parameters in ranges:
        if pattern == name:
            found = 2
        elif pattern == name.partition("/")[0] + "/*":
            found = 1
        elif pattern in ("*/*", "*"):
            found = 0
        else:
            continue
        if found > specificity:
            specificity, quality = found, _parse_quality(parameters.get("q"))
    return quality


def _parse_quality(text: str | None) -> float:
    """Read a q-value; one that is none of 0 to 1 counts as 1, as if it were not there."""
    try:
        quality = 1.0 if text is None else float(text)
    except ValueError:
        return 1.0
    return quality if 0 <= quality <= 1 else 1.0


def _split(text: str, separator: str) -> list[str]:
    """Split at separators outside quotation marks."""
    if '"' not in text:
        return text.split(separator)
    parts, quoted, start, escaped = [], False, 0, False
    for index, character in enumerate(text):
        if escaped:
            escaped = False
        elif quoted and character == "\\":
            escaped = True
        elif character == '"':
            quoted = not quoted
        elif character == separator and not quoted:
            parts.append(text[start:index])
            start = index + 1
    return [*parts, text[start:]]


def _unquote(text: str) -> str:
    if len(text) < 2 or text[0] != '"' or text[-1] != '"':
        return text
    return text[1:-1].replace('\\"', '"').replace("\\\\", "\\")
