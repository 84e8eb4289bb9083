"""Rows in the text format of LIBSVM: `label index:value index:value ...`.

The label may be left out, and is ignored. Indices count from 1, as LIBSVM's own; XGBoost's count
from 0, which `text/libsvm; indexing=0` says. It is never guessed: the rows of a request may all
lack their first column. A column that a row does not name is 0.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from container.errors import RequestError

_INDEX_MAXIMUM: Final = 10_000_000
_PAIR: Final = re.compile(
    r"(\d{1,9}):([+-]?[\d.]+(?:[eE][+-]?\d{1,4})?|nan)", re.ASCII | re.IGNORECASE
)


def read_first_index(parameters: Mapping[str, str]) -> int:
    """Return the index of the first column. Raises: RequestError 400 if it is not 0 or 1."""
    given = parameters.get("indexing", "1")
    if given not in ("0", "1"):
        message = f"the indexing of text/libsvm is {given[:40]!r}; it is 0 or 1"
        raise RequestError(400, message)
    return int(given)


def decode(text: str, first_index: int = 1, columns: int | None = None) -> Iterator[NDArray[Any]]:
    """Yield each row as `[column] float64`; without `columns` the highest index counts them.

    Raises: RequestError 400 that names the row.
    """
    text = text.rstrip()
    if not text:
        raise RequestError(400, "the body is empty; a row of text/libsvm is expected")
    if columns is None:
        columns = _count_columns(text, first_index)
    for number, line in enumerate(_split_lines(text), start=1):
        yield _decode_row(line, number, first_index, columns)


def _split_lines(text: str) -> Iterator[str]:
    start = 0
    while start <= len(text):
        end = text.find("\n", start)
        end = len(text) if end < 0 else end
        yield text[start:end]
        start = end + 1


def _count_columns(text: str, first_index: int) -> int:
    highest = 0
    for found in _PAIR.finditer(text):
        highest = max(highest, int(found[1]) - first_index + 1)
    if highest > _INDEX_MAXIMUM:
        message = f"an index of text/libsvm is {highest}; at most {_INDEX_MAXIMUM} are possible"
        raise RequestError(400, message)
    return max(highest, 1)


def _decode_row(line: str, number: int, first_index: int, columns: int) -> NDArray[np.float64]:
    words = line.split("#", 1)[0].split()
    if not words:
        raise RequestError(400, f"row {number} is empty; each line before the last is a record")
    if ":" not in words[0]:  # the label
        del words[0]
    row = np.zeros(columns)
    for word in words:
        found = _PAIR.fullmatch(word)
        if found is None:
            message = f"row {number} holds {word[:40]!r}; text/libsvm is label index:value ..."
            raise RequestError(400, message)
        place = int(found[1]) - first_index
        if not 0 <= place < columns:
            message = f"row {number} has the index {found[1]}"
            expected = f"{first_index} to {columns - 1 + first_index} are expected"
            hint = "; where they count from 0, send text/libsvm; indexing=0" * (place < 0)
            raise RequestError(400, f"{message}; {expected}{hint}")
        try:
            row[place] = float(found[2])
        except ValueError:
            message = f"row {number} holds {word[:40]!r}, whose value is not a number"
            raise RequestError(400, message) from None
    return row
