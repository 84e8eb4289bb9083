"""Tables from CSV, by RFC 4180, for models of any framework.

The first row is a header if the columns of the model have names, and it holds all of them, or at
least half of its cells are names that do not look like values, or no cell looks like a value.
Where the names look like values (`0,1,2`), a first row that holds them may be either: it is refused
unless the content type says which. Line breaks at the end are ignored; an empty line elsewhere is
refused, so that every line has its answer. A column of True and False, as pandas writes it, is of
booleans, unless the model takes text there.
"""

import re
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from container.errors import RequestError
from container.serving import charsets
from container.serving.records import csv_rules
from container.serving.third_party import bounds
from container.serving.third_party.predict_requests import name_columns
from container.serving.third_party.signature import TEXT, Arrays, Signature

_NUMBERS: Final = re.compile(r"[0-9,.eE\r\n+-]+")
_INTEGERS: Final = re.compile(r"[0-9,\r\n-]+")
_BOOLEANS: Final = {"true": True, "false": False}
_NOTHING: Final = csv_rules.MISSING - {"nan"}
_BLANK_LINE: Final = re.compile(r"\A\r?\n|\A\r|\n\r?\n|\r\r")


def decode(text: str, model: Signature, *, has_header: bool | None = None) -> Arrays:
    """Decode CSV into an array `[row, column]`, or into columns by their names.

    `has_header` is what the content type says of the first row; without it the row decides.

    Raises: RequestError 400 naming the row.
    """
    end = charsets.find_end(text, "\r\n")
    if not end:
        raise RequestError(400, "the body is empty; CSV of at least one row is expected")
    numbers = None if has_header else _decode_numbers(text, end, model)
    if numbers is not None:
        if has_header is None and len(numbers) > 1 and len(numbers.T) == len(model.column_names):
            _refuse_unclear(text[: text.index("\n")].split(","), model)
        return numbers
    bounds.check_table(text)
    rows = csv_rules.read_rows(text)
    header = _take_header(rows, model, has_header=has_header)
    if not model.takes_missing:
        _refuse_missing(rows, model, header)
    if header and model.column_names:
        return _decode_named(header, rows, model)
    csv_rules.check_widths(rows, first=2 if header else 1)
    return _decode_unnamed(rows, model)


def _take_header(rows: list[list[str]], model: Signature, *, has_header: bool | None) -> list[str]:
    """Take the header off the rows; empty if they have none. Raises: RequestError 400."""
    if has_header is None and model.column_names:
        if len(rows) > 1:
            _refuse_unclear(rows[0], model)
        has_header = _is_header(rows[0], model)
    if not has_header:
        return []
    if len(rows) == 1:
        raise RequestError(400, "the body has a header and no row")
    return [cell.strip() for cell in rows.pop(0)]


def _refuse_missing(rows: list[list[str]], model: Signature, header: list[str]) -> None:
    """Refuse a cell that holds nothing where a number is expected; `NaN` is a number."""
    first = 2 if header else 1
    is_text = _find_text(model, header, max(map(len, rows)))
    for number, row in enumerate(rows, start=first):
        for place, cell in enumerate(row):
            if cell.strip().lower() in _NOTHING and not is_text[place]:
                message = f"row {number}, column {place + 1} is {cell[:80]!r}"
                raise RequestError(400, f"{message}; the model takes no missing values")


def _find_text(model: Signature, header: list[str], width: int) -> list[bool]:
    """Return whether each column of the body is text; a header may have moved them."""
    if not header or not model.column_names:
        return [model.is_text(place) for place in range(width)]
    text = {name for place, name in enumerate(model.column_names) if model.is_text(place)}
    is_text = [name in text for name in header]
    return is_text + [False] * (width - len(header))


def _decode_unnamed(rows: list[list[str]], model: Signature) -> NDArray[Any]:
    if not model.column_names and not any(map(model.is_text, range(len(rows[0])))):
        _refuse_header(rows[0])
    columns = [
        _decode_column(list(cells), model, is_text=model.is_text(place))
        for place, cells in enumerate(zip(*rows, strict=True))
    ]
    return np.column_stack(columns)


def _decode_numbers(text: str, end: int, model: Signature) -> NDArray[Any] | None:
    """Decode what holds only numbers up to `end`; None if something else is in the way."""
    if not _NUMBERS.fullmatch(text, 0, end) or _BLANK_LINE.search(text, 0, end):
        return None
    first_end = text.find("\n", 0, end)
    width = text.count(",", 0, first_end if first_end >= 0 else end) + 1
    if any(map(model.is_text, range(width))):
        return None
    dtype: Any = np.float64
    if _INTEGERS.fullmatch(text):
        dtype = np.int64
    return bounds.parse_table(text, dtype)


def _is_header(row: list[str], model: Signature) -> bool:
    cells = [cell.strip() for cell in row]
    if _are_names(cells, model):
        return True
    names = set(model.column_names)
    are_values = [_is_value(cell) for cell in cells]
    pairs = zip(cells, are_values, strict=True)
    if 2 * sum(cell in names for cell, is_value in pairs if not is_value) >= len(cells):
        return True
    if all(map(model.is_text, range(len(cells)))):
        return False
    return not any(are_values)


def _are_names(cells: list[str], model: Signature) -> bool:
    """Return whether the cells are the names of all columns, in any order."""
    return len(cells) == len(model.column_names) and set(cells) == set(model.column_names)


def _refuse_unclear(row: list[str], model: Signature) -> None:
    """Refuse a first row of values that are the names of all columns, as pandas writes them.

    Raises: RequestError 400.
    """
    cells = [cell.strip() for cell in row]
    if _are_names(cells, model) and all(map(_is_value, cells)):
        message = "row 1 holds the names of the model's columns, which look like values"
        forms = "text/csv; header=present or text/csv; header=absent"
        raise RequestError(400, f"{message}; send {forms} as the content type")


def _is_value(cell: str) -> bool:
    lower = cell.lower()
    return lower in csv_rules.MISSING or lower in _BOOLEANS or csv_rules.parse(cell) is not None


def _decode_named(header: list[str], rows: list[list[str]], model: Signature) -> Arrays:
    named = name_columns(header, rows, first=2)
    is_text = _find_text(model, header, len(header))
    return {
        name: _decode_column(cells.tolist(), model, is_text=is_text[place])
        for place, (name, cells) in enumerate(named.items())
    }


def _decode_column(cells: list[str], model: Signature, *, is_text: bool) -> NDArray[Any]:
    """Return numbers or booleans if all cells are such or missing; otherwise text.

    A missing value is None among booleans and texts.
    """
    stripped = [cell.strip() for cell in cells]
    if is_text and not model.takes_missing:
        return np.array(stripped, dtype=TEXT)
    is_missing = np.array([cell.lower() in csv_rules.MISSING for cell in stripped])
    values = None if is_text else _parse_values(stripped, is_missing)
    if values is not None:
        return values
    column = np.array(stripped, dtype=TEXT)
    column[is_missing] = None
    return column


def _parse_values(cells: list[str], is_missing: NDArray[np.bool_]) -> NDArray[Any] | None:
    """Return numbers or booleans, or None if something is neither."""
    numbers = csv_rules.parse_all(cells)
    if numbers is not None:
        return np.array(numbers)
    booleans = np.array([_BOOLEANS.get(cell.lower()) for cell in cells], dtype=TEXT)
    if None in booleans[~is_missing]:
        return None
    if is_missing.any():
        return booleans
    return booleans.astype(np.bool_)


def _refuse_header(row: list[str]) -> None:
    if any(_is_value(cell.strip()) for cell in row):
        return
    message = f"row 1, column 1 is {row[0][:80]!r}, which is not a number"
    hint = "the model's columns have no names, so rows are sent without a header"
    raise RequestError(400, f"{message}; {hint}")
