"""Rows in the text format of LIBSVM: `label index:value index:value ...`.

The label may be left out, and is ignored. Indices count from 1, as LIBSVM's own; XGBoost's count
from 0, which `text/libsvm; indexing=0` says. It is never guessed: the rows of a request may all
lack their first column. A column that a row does not name is 0; one that it names twice is refused.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from container.errors import RequestError
from container.serving import charsets
from container.serving.records import lines

_INDEX_MAXIMUM: Final = 10_000_000
_DIGITS_MAXIMUM: Final = 9
_BLOCK_BYTES: Final = 1 << 20
_VALUE_BYTES: Final = 16  # in the rows, and in what is made of them
_ROW_BYTES: Final = 128
_PAIR_BYTES: Final = 64
_OTHER_BYTES: Final = 8192
_VALUE_CHARACTERS: Final = b"0123456789+-.eEnaNA"
_WHOLE_CHARACTERS: Final = b"0123456789: "
_WHOLE_MAXIMUM: Final = 2**53  # float64 holds these exactly; numpy's parser stops at 2**63
_PAIR: Final = re.compile(
    r"(\d{1,9}):([+-]?[\d.]+(?:[eE][+-]?\d{1,4})?|nan)", re.ASCII | re.IGNORECASE
)


def read_first_index(parameters: Mapping[str, str]) -> int:
    """Return the index of the first column. Raises: RequestError 400 if it is not 0 or 1."""
    given = parameters.get("indexing", "1")
    if given not in ("0", "1"):
        raise RequestError(400, f"the indexing of text/libsvm is {given[:40]!r}; it is 0 or 1")
    return int(given)


def decode(rows: Iterable[bytes], first_index: int, columns: int) -> Iterator[NDArray[Any]]:
    """Yield each row as `[column] float64`. Raises: RequestError 400 that names the row."""
    for number, line in enumerate(rows, start=1):
        if len(line) > _OTHER_BYTES + _PAIR_BYTES * columns or line.count(b":") > columns:
            message = f"row {number} of {len(line)} bytes is longer than {columns} values"
            raise RequestError(400, f"{message}: text/libsvm is label index:value ...")
        row = _decode_plain_row(line, first_index, columns)
        if row is None:
            row = _decode_row(line, number, first_index, columns)
        yield row


def decode_table(
    body: bytes, parameters: Mapping[str, str], columns: int | None, charge: Callable[[int], None]
) -> NDArray[np.float64]:
    """Decode all rows into `[row, column]`; without `columns` the highest index says how many.

    Raises: RequestError 400 that names the row, 413 if they take more than `charge` allows.
    """
    first_index = read_first_index(parameters)
    body = lines.to_utf8(body, parameters)
    rows = body.count(b"\n", 0, charsets.find_end(body)) + 1
    charge(rows * _ROW_BYTES)
    if columns is None:
        columns = count_columns(body, first_index)
    charge(rows * columns * _VALUE_BYTES)
    table = np.empty((rows, columns))
    for place, row in enumerate(decode(lines.split(body, {}), first_index, columns)):
        table[place] = row
    return table


def count_columns(body: bytes, first_index: int) -> int:
    """Return how many columns the highest index of all rows needs, at least one.

    Raises: RequestError 400 if it is beyond all reason.
    """
    data = np.frombuffer(body, np.uint8)
    highest = 0
    for start in range(0, len(data), _BLOCK_BYTES):
        before = max(0, start - _DIGITS_MAXIMUM - 1)
        highest = max(highest, _find_highest(data[before : start + _BLOCK_BYTES]))
    highest += 1 - first_index
    if highest > _INDEX_MAXIMUM:
        message = f"an index of text/libsvm is {highest}; at most {_INDEX_MAXIMUM} are possible"
        raise RequestError(400, message)
    return max(highest, 1)


def _find_highest(data: NDArray[np.uint8]) -> int:
    """Return the highest number of up to nine digits before a colon."""
    colons = np.flatnonzero(data == ord(":"))
    values = np.zeros(len(colons), np.int64)
    is_number = np.ones(len(colons), bool)
    for place in range(_DIGITS_MAXIMUM + 1):
        digits = data[np.maximum(colons - 1 - place, 0)].astype(np.int64) - ord("0")
        is_number &= (digits >= 0) & (digits <= 9) & (colons > place)
        values[is_number] += digits[is_number] * 10**place
    values[is_number] = 0  # which has more digits
    return int(values.max(initial=0))


def _decode_plain_row(line: bytes, first_index: int, columns: int) -> NDArray[np.float64] | None:
    """Decode a row in which nothing is wrong; None if something is."""
    pairs = _take_pairs(line)
    parsed = _parse_whole_pairs(pairs)
    if parsed is None:
        parsed = _parse_pairs(pairs)
    if parsed is None:
        return None
    indices, values = parsed
    places = indices - first_index
    if places.min() < 0 or places.max() >= columns or _repeats(places):
        return None
    row = np.zeros(columns)
    row[places] = values
    return row


def _repeats(places: NDArray[np.int64]) -> bool:
    """Return whether a column is named twice; most rows are in order, which is seen at once."""
    is_ordered = bool((places[1:] > places[:-1]).all())
    return not is_ordered and len(np.unique(places)) < len(places)


def _take_pairs(line: bytes) -> bytes:
    """Return the pairs with a space between two; nothing if there are none, or they are wrong."""
    text = line.split(b"#", 1)[0].strip()
    for _ in range(2):
        label, _, rest = text.partition(b" ")
        pairs = rest if b":" not in label else text
        skeleton = b": " * (pairs.count(b":") - 1) + b":"
        if pairs.translate(None, _VALUE_CHARACTERS) == skeleton:
            return pairs
        text = b" ".join(text.split())
    return b""


def _parse_whole_pairs(pairs: bytes) -> tuple[NDArray[np.int64], NDArray[Any]] | None:
    """Parse pairs whose values are whole numbers, which numpy does at once; None for others."""
    if not pairs or pairs.translate(None, _WHOLE_CHARACTERS):
        return None
    numbers = np.fromstring(pairs.replace(b":", b" "), np.int64, sep=" ")
    if len(numbers) != 2 * pairs.count(b":") or numbers.max() > _WHOLE_MAXIMUM:
        return None
    return numbers[::2], numbers[1::2]


def _parse_pairs(pairs: bytes) -> tuple[NDArray[np.int64], NDArray[Any]] | None:
    numbers = pairs.decode("ascii").replace(":", " ").split()  # `float` of bytes is slow
    indices = numbers[::2]
    if len(numbers) != 2 * pairs.count(b":") or not "".join(indices).isdigit():
        return None
    try:
        values = np.fromiter(map(float, numbers[1::2]), np.float64, len(indices))
    except ValueError:
        return None
    return np.fromstring(" ".join(indices), np.int64, sep=" "), values


def _decode_row(line: bytes, number: int, first_index: int, columns: int) -> NDArray[np.float64]:
    words = [word.decode("utf-8", "replace") for word in line.split(b"#", 1)[0].split()]
    if not words:
        raise RequestError(400, f"row {number} is empty; each line before the last is a record")
    if ":" not in words[0]:  # the label
        del words[0]
    row = np.zeros(columns)
    taken = set()
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
        if place in taken:
            message = f"row {number} has the index {found[1]} twice; each column has one value"
            raise RequestError(400, message)
        taken.add(place)
        try:
            row[place] = float(found[2])
        except ValueError:
            message = f"row {number} holds {word[:40]!r}, whose value is not a number"
            raise RequestError(400, message) from None
    return row
