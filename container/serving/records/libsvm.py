"""Rows in the text format of LIBSVM: `label index:value index:value ...`.

The label may be left out, and is ignored. Indices count from 1, as LIBSVM's own; XGBoost's count
from 0, which `text/libsvm; indexing=0` says. It is never guessed: the rows of a request may all
lack their first column. A column that a row does not name is 0.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from container.errors import RequestError

_INDEX_MAXIMUM: Final = 10_000_000
_INDEX: Final = re.compile(rb"(?<!\d)(\d{1,9}):")
_PAIR_BYTES: Final = 64
_OTHER_BYTES: Final = 8192
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


def decode(lines: Iterable[bytes], first_index: int, columns: int) -> Iterator[NDArray[Any]]:
    """Yield each row as `[column] float64`.

    Raises: RequestError 400 that names the row.
    """
    for number, line in enumerate(lines, start=1):
        if len(line) > _OTHER_BYTES + _PAIR_BYTES * columns or line.count(b":") > columns:
            message = f"row {number} of {len(line)} bytes is longer than {columns} values"
            raise RequestError(400, f"{message}: text/libsvm is label index:value ...")
        yield _decode_row(line.decode("utf-8", "replace"), number, first_index, columns)


def count_columns(lines: Iterable[bytes], first_index: int) -> int:
    """Return how many columns the highest index of all rows needs, at least one.

    Raises: RequestError 400 if it is beyond all reason.
    """
    highest = 0
    for line in lines:
        for found in _INDEX.finditer(line):
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
