"""How much memory the bodies of user code and third-party models may take (SEC-6).

Their decoders return what numpy makes of any JSON or CSV. Python's values take up to a hundred
times their text, so they are counted first; what would take twice the payload limit is refused.
"""

import functools
import io
import os
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from container import contract
from container.errors import RequestError
from container.serving import charsets, server_settings
from container.serving.records import json_values

_BLOCK_CHARACTERS: Final = 131_072
# Measured, with the array that is made of them.
_INTEGER_BYTES: Final = 40
_NUMBER_BYTES: Final = 50
_LIST_BYTES: Final = 80
_OBJECT_BYTES: Final = 190
_QUOTE_BYTES: Final = 38
_CELL_BYTES: Final = 100
_CHARACTER_BYTES: Final = 4
_WIDE_COPIES: Final = 2.2
_TEXT: Final = re.compile(r'"(?:[^"\\]|\\.)*+"?', re.DOTALL)
_SHARE: Final = 1.8
"""Of the payload limit, for the values; the text itself takes as much as the limit."""


@functools.cache
def count_payload_bytes() -> int:
    """Return the payload limit of this server."""
    return server_settings.parse(os.environ).payload_bytes


def decode_text(body: bytes, parameters: Mapping[str, str]) -> str:
    """Decode a body by its charset, as `charsets.decode` does, if its text takes bounded memory.

    One rare character makes all characters of a text two or four times as wide.

    Raises: RequestError 413 if it would take more; 400 or 415 as `charsets.decode` does.
    """
    if len(body) > _BLOCK_CHARACTERS and not body.isascii():
        characters = 0
        width = 1
        for piece in charsets.decode_pieces(body, parameters):
            characters += len(piece)
            if width < _CHARACTER_BYTES and not piece.isascii():
                width = max(width, _measure_width(piece))
        if width > 1:  # the values, and what is made of them, are as wide
            _check(characters * width * _WIDE_COPIES, "text")
    return charsets.decode(body, parameters)


def _measure_width(text: str) -> int:
    """Return how many bytes Python takes for each character of a text."""
    highest = ord(max(text))
    if highest > 0xFFFF:
        return 4
    return 2 if highest > 0xFF else 1


def load_json(text: str | bytes, hook: json_values.Hook | None = None) -> Any:
    """Parse JSON whose values take bounded memory, as an array, too.

    Raises: RequestError 413 if they would take more; ValueError or RecursionError as `json` does.
    """
    if len(text) > _BLOCK_CHARACTERS:
        if isinstance(text, bytes):
            text = text.decode()
        _check_json(text)
    return json_values.load(text, hook)


def check_lines(text: str) -> None:
    """Check what JSON lines take, each of which is parsed by itself. Raises: RequestError 413."""
    if len(text) > _BLOCK_CHARACTERS:
        _check((text.count("\n") + 1) * _CELL_BYTES, "JSON lines")
        _check_json(text)


def _check_json(text: str) -> None:
    has_fractions = any(mark in text for mark in ".eE")
    values = text.count(",")
    needed = values * (_NUMBER_BYTES if has_fractions else _INTEGER_BYTES)
    needed += text.count("[") * _LIST_BYTES + text.count("{") * _OBJECT_BYTES
    needed += text.count('"') * _QUOTE_BYTES
    _check(needed, "JSON")
    # Each text of an array is as wide as the longest.
    longest = max((found.end() - found.start() for found in _TEXT.finditer(text)), default=0)
    _check(values * longest * _CHARACTER_BYTES, "JSON")


def check_table(text: str) -> None:
    """Check what the cells of a CSV take. Raises: RequestError 413 if it is too much memory."""
    if len(text) > _BLOCK_CHARACTERS:
        cells = text.count(",") + text.count("\n") + 1
        _check(cells * _CELL_BYTES, "CSV")


def _check(needed: float, what: str) -> None:
    limit = count_payload_bytes()
    if needed > _SHARE * limit:
        message = (
            f"the values of the {what} would take about {int(needed) >> 20} MiB, and the payload "
            f"limit is {limit >> 20} MiB; send application/x-npy, fewer instances, or set "
            f"{contract.MAX_PAYLOAD_VARIABLE}"
        )
        raise RequestError(413, message)


def parse_table(text: str, dtype: Any) -> NDArray[Any] | None:
    """Parse lines of plain numbers into `[line, column]`, or None if they are not a table of them.

    Raises: RequestError 413 if the numbers take more memory than the payload limit.
    """
    numbers = text.count(",") + text.count("\n") + 1
    if len(text) > _BLOCK_CHARACTERS:
        _check(2 * numbers * np.dtype(dtype).itemsize, "CSV")
    columns = 0
    table = np.empty(numbers, dtype)
    done = 0
    for lines in _split_lines(text):
        counts = {line.count(",") + 1 for line in lines.split("\n") if line}
        columns = columns or min(counts)
        if counts != {columns}:
            return None
        for piece in _cut(lines):
            try:
                block = np.loadtxt(io.StringIO(piece), dtype, delimiter=",", comments=None, ndmin=2)
            except (ValueError, OverflowError):
                return None
            table[done : done + block.size] = block.ravel()
            done += block.size
    return table[:done].reshape(-1, columns or 1)


def _split_lines(text: str) -> Iterator[str]:
    """Yield blocks of lines, a line that is longer than a block by itself."""
    start = 0
    while start < len(text):
        end = len(text)
        if end - start > _BLOCK_CHARACTERS:
            end = text.rfind("\n", start, start + _BLOCK_CHARACTERS)
            if end < 0:
                end = text.find("\n", start)
            end = len(text) if end < 0 else end
        lines = text[start:end].strip("\r\n").replace("\r\n", "\n")
        if lines:
            yield lines
        start = end + 1


def _cut(lines: str) -> Iterator[str]:
    """Cut a long line at its commas."""
    start = 0
    while len(lines) - start > _BLOCK_CHARACTERS:
        end = lines.find(",", start + _BLOCK_CHARACTERS)
        if end < 0:
            break
        yield lines[start:end]
        start = end + 1
    yield lines[start:]
