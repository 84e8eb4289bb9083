"""CSV by RFC 4180, for bodies whose columns are not known: numbers and text, with a header or not.

- A cell that is empty or says NA, N/A, NaN, null or None is missing, in any case of letters.
- A column is numbers if each of its cells is a number or missing, otherwise text.
- The first row is a header if its cells are texts, no two are equal, and below them at least one
  column is numbers. The first may be empty: pandas writes the index so. `text/csv; header=present`
  or `header=absent` says it where this would guess.
- Blank lines at the end are ignored. Any other blank line is refused, so that each line has its
  answer; `""` is an empty cell of the only column.
"""

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from container.errors import RequestError
from container.serving import charsets
from container.serving.records.table import Table

MISSING: Final = frozenset({"", "na", "n/a", "nan", "null", "none"})
_LINE: Final = re.compile(r"[^\r\n]*+(?:\r\n|\r|\n)|[^\r\n]++")
_QUOTES_AND_BREAK: Final = 5
_INTEGER_CHARACTERS_MAXIMUM: Final = 400
_HEADERS: Final = {"": None, "present": True, "absent": False}


def read_header_parameter(parameters: Mapping[str, str]) -> bool | None:
    """Return what `text/csv; header=...` says, or None if it says nothing.

    Raises: RequestError 400 for a value that RFC 4180 does not know.
    """
    given = parameters.get("header", "").lower()
    if given not in _HEADERS:
        message = f"the header of text/csv is {given[:40]!r}; it is present or absent"
        raise RequestError(400, message)
    return _HEADERS[given]


def decode(text: str, *, has_header: bool | None = None) -> Table:
    """Decode CSV; without `has_header` the rows decide.

    Raises: RequestError 400 that names the row.
    """
    rows = read_rows(text)
    header_lines = 0
    if has_header or (has_header is None and _is_header(rows)):
        header_lines = 1
    check_widths(rows)
    cells = list(zip(*rows[header_lines:], strict=True))
    if not cells:
        raise RequestError(400, "the body has a header and no row")
    columns = tuple(make_column(column) for column in cells)
    names: tuple[str, ...] = ()
    if header_lines:
        names = tuple(cell.strip() for cell in rows[0])
    return Table(columns, names, header_lines)


def check_widths(rows: Sequence[Sequence[str]], first: int = 1) -> None:
    """Refuse rows of different widths; they count from `first`. Raises: RequestError 400."""
    width = len(rows[0])
    for number, row in enumerate(rows, start=first):
        if len(row) != width:
            message = f"row {number} has {len(row)} columns; the first has {width}"
            if len(row) > width:
                message += "; a comma inside a value is written between quotation marks"
            raise RequestError(400, message)


def read_rows(text: str) -> list[list[str]]:
    """Return the cells of each row, by RFC 4180.

    Raises: RequestError 400 if there is no row, a blank line comes before the end, or the quotation
    marks do not match.
    """
    end = charsets.find_end(text, "\r\n")
    if not end:
        raise RequestError(400, "the body is empty; CSV of at least one row is expected")
    if "\0" in text:
        message = "the body holds zero bytes, as UTF-16 does; send text/csv; charset=utf-16-le"
        raise RequestError(400, message)
    try:
        rows = list(csv.reader(_split_lines(text, end), strict=True))
    except csv.Error as error:
        raise RequestError(400, f"the body is not text/csv: {error}") from error
    for number, row in enumerate(rows, start=1):
        if not row:
            raise RequestError(400, f"row {number} is empty; each line before the last is a record")
    return rows


def _split_lines(text: str, end: int) -> Iterator[str]:
    """Yield the lines with their line breaks; `io.StringIO` would take four bytes a character.

    Raises: csv.Error for a line that must have a cell beyond the limit, without a copy of it.
    """
    for found in _LINE.finditer(text, 0, end):
        start, stop = found.span()
        cell_maximum = 2 * csv.field_size_limit()  # of quotation marks, each of which is doubled
        if stop - start > cell_maximum:
            cells = text.count(",", start, stop) + 1
            if stop - start > cells * (cell_maximum + _QUOTES_AND_BREAK):
                raise csv.Error(f"field larger than field limit ({csv.field_size_limit()})")
        yield found[0]


def _is_header(rows: Sequence[Sequence[str]]) -> bool:
    """Return whether the first row names the columns of the others."""
    names = [cell.strip() for cell in rows[0]]
    if len(rows) < 2 or len(set(names)) < len(names):
        return False
    if any(parse(name) is not None for name in names[not names[0] :]) or not any(names):
        return False
    return any(
        all(place < len(row) and parse(row[place].strip()) is not None for row in rows[1:])
        for place in range(len(names))
    )


def make_column(cells: Sequence[str]) -> NDArray[Any]:
    """Return numbers if all cells are numbers or missing, otherwise texts with NaN for missing."""
    stripped = [cell.strip() for cell in cells]
    numbers = parse_all(stripped)
    if numbers is not None:
        return _to_numbers(numbers)
    column = np.array(stripped, dtype=object)
    column[[cell.lower() in MISSING for cell in stripped]] = np.nan
    return column


def parse_all(cells: Sequence[str]) -> list[float] | None:
    """Parse numbers; None if a cell is neither one nor missing, which is soon found as a rule."""
    numbers = []
    for cell in cells:
        number = parse(cell)
        if number is None:
            return None
        numbers.append(number)
    return numbers


def _to_numbers(numbers: Sequence[float]) -> NDArray[Any]:
    array = np.array(numbers)
    if array.dtype.kind in "if":
        return array
    return array.astype(np.float64)  # integers of more than 64 bits


def parse(cell: str) -> float | int | None:
    """Parse a number; NaN if it is missing, None if it is neither."""
    if cell.lower() in MISSING:
        return float("nan")
    if "_" in cell or not cell.isascii():  # which Python takes
        return None
    if "." not in cell:
        if len(cell) > _INTEGER_CHARACTERS_MAXIMUM:  # beyond any float, and slow to parse
            return None
        try:
            return int(cell)
        except ValueError:
            pass
    try:
        return float(cell)
    except ValueError:
        return None
