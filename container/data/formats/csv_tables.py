"""The columns of a CSV file: which holds the labels, and what images the others make."""

import contextlib
import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from container.data.doubts import find_header_doubts
from container.data.formats.csv_text import explain_charset, find_separator, split_fields
from container.data.formats.parts import LABEL_COLUMN, Options, Shape
from container.errors import UserError, name_command

TABLE_ADVICE: Final = (
    "the bundled trainer learns pictures: a label and one pixel (0-255) per column; for a table of "
    f"other values write a program of your own: {name_command('init --kind script DIRECTORY')}"
)
QUOTED_EXAMPLE: Final = '"cat, black",0,255'
_ENDS: Final = {"first": 0, "last": -1}
_LABEL_NAMES: Final = ("label", "labels", "class", "target", "y")
_COUNTED_COLUMNS: Final = 10  # as many as 0,1,2,... have to be to be a header and not pixels


@dataclass(frozen=True)
class Table:
    """The columns of one CSV file, from its header or first row."""

    name: str
    separator: bytes
    names: tuple[str, ...]
    """`column N` in a file without a header."""
    header: bytes
    """The line of the header; empty if there is none."""
    label_index: int
    shape: Shape
    guesses_label: bool
    """Whether the first column is the label because nothing names another one."""


def describe(name: str, lines: Sequence[bytes], options: Options, first: Table | None) -> Table:
    """Describe a file by its first lines, and by the first file.

    Raises: UserError if the columns are not a label and the pixels of an image.
    """
    line = lines[0]
    separator = find_separator(line)
    fields = _split(name, line, separator)
    if len(fields) < 2:
        raise UserError(
            f"{name} has {len(fields)} column; expected a label and pixels separated by commas"
        )
    if first is not None and len(fields) != len(first.names):
        raise UserError(f"{name} has {len(fields)} columns, {first.name} has {len(first.names)}")
    is_header = _is_header(fields, options.label_column)
    names = tuple(fields)
    header = line
    rows = _split_sample(lines[is_header:], separator)
    if is_header:
        _find_named(name, names, options.label_column)  # two labels also look like a table
    else:
        names = tuple(f"column {i + 1}" for i in range(len(fields)))
        header = b""
        _refuse_first_row(name, rows, first)
    _refuse_table(name, names, rows, first)
    shape = options.image_shape or _infer_shape(name, len(fields) - 1)
    if math.prod(shape) != len(fields) - 1:
        raise UserError(
            f"{name} has {len(fields) - 1} pixels per row; image_shape={list(shape)} needs "
            f"{math.prod(shape)}"
        )
    if first is not None and not is_header:  # only the first file of a split set has a header
        table = dataclasses.replace(first, name=name, separator=separator, header=b"", shape=shape)
    else:
        find = _find_label if is_header else _find_position
        index = find(name, names, options.label_column)
        guesses = options.label_column == LABEL_COLUMN and names[index].casefold() != LABEL_COLUMN
        table = Table(name, separator, names, header, index, shape, guesses)
    _refuse_text(table, rows, first)
    _check_order(table, first, options.note)
    return table


def _split(name: str, line: bytes, separator: bytes) -> list[str]:
    try:
        return split_fields(line, separator)
    except UnicodeDecodeError as error:
        raise UserError(f"{name}, row 1: {explain_charset(error)}") from error


def _split_sample(lines: Sequence[bytes], separator: bytes) -> list[list[str]]:
    """Split rows into fields; those that are not UTF-8 are reported later, with their number."""
    rows = []
    for line in lines:
        with contextlib.suppress(UnicodeDecodeError):
            rows.append(split_fields(line, separator))
    return rows


def may_be_row(fields: Sequence[str]) -> bool:
    """Return whether at least half of the fields are numbers: a row, perhaps with bad pixels."""
    others = max(len(fields) - 1, 1)
    return sum(map(is_number, fields)) >= others / 2


def is_number(text: str) -> bool:
    """Return whether a field is a number."""
    try:
        float(text)
    except ValueError:
        return False
    return "_" not in text  # which only Python ignores


def _is_header(fields: Sequence[str], label_column: str) -> bool:
    if not is_number(label_column) and label_column.casefold() in map(str.casefold, fields):
        return True
    if len(fields) >= _COUNTED_COLUMNS and _counts(fields):
        return True  # as pandas writes it for an array
    return not may_be_row(fields)


def _counts(fields: Sequence[str]) -> bool:
    """Return whether fields count up from 0 or 1."""
    return any(all(field == str(i) for i, field in enumerate(fields, start)) for start in (0, 1))


def _find_label(name: str, names: Sequence[str], label_column: str) -> int:
    """Return the index of the label by the header, or by its position.

    Raises: UserError that lists the columns if this one is missing, or there are several.
    """
    named = _find_named(name, names, label_column)
    if named is not None:
        return named
    position = _read_position(label_column, len(names))
    if position is not None:
        return position
    stems = [column.rstrip("0123456789_.-x") for column in names[:2]]
    is_named = any(column.casefold() in _LABEL_NAMES for column in names[1:])
    if label_column == LABEL_COLUMN and stems[0] != stems[-1] and not is_named:
        return 0
    raise UserError(_describe_missing(name, names, label_column))


def _find_named(name: str, names: Sequence[str], label_column: str) -> int | None:
    """Return the index of the column that is called so, in any case; None if none is.

    Raises: UserError if there are several.
    """
    same = [i for i, column in enumerate(names) if column == label_column]
    alike = [i for i, column in enumerate(names) if column.casefold() == label_column.casefold()]
    found = same or alike
    if len(found) > 1:
        raise UserError(
            f"{name} has {len(found)} columns called {names[found[0]]!r}; set label_column to the "
            f"number of the right one: {', '.join(str(i + 1) for i in found)}"
        )
    return found[0] if found else None


def _find_position(name: str, names: Sequence[str], label_column: str) -> int:
    """Return the index of the label in a file without header.

    Raises: UserError if `label_column` is not a position in it.
    """
    if label_column == LABEL_COLUMN:
        return 0
    position = _read_position(label_column, len(names))
    if position is None:
        raise UserError(_describe_missing(name, names, label_column))
    return position


def _read_position(text: str, count: int) -> int | None:
    """Return the index that `first`, `last`, `1` to `count` or `-1` to `-count` means, else None.

    >>> _read_position("65", 65), _read_position("-1", 65), _read_position("0", 65)
    (64, 64, None)
    """
    text = text.strip().casefold()
    if text in _ENDS:
        return _ENDS[text] % count
    try:
        number = int(text)
    except ValueError:
        return None
    if 1 <= number <= count:
        return number - 1
    return number % count if -count <= number < 0 else None


def _describe_missing(name: str, names: Sequence[str], label_column: str) -> str:
    shown = ", ".join(names[:4])
    if len(names) > 4:
        shown += f", ... {names[-1]}"
    return (
        f"{name} has no column {label_column!r}: its {len(names)} columns are {shown}; "
        "set label_column to the name of the label's column, first, last, or its number: 1 for "
        "the first one, -1 for the last one"
    )


def _infer_shape(name: str, pixel_count: int) -> Shape:
    side = math.isqrt(pixel_count)
    if side * side != pixel_count:
        raise UserError(
            f"{name}: {pixel_count} pixels per row are not a square image; set image_shape to "
            f"height, width and channels, such as [32, 32, 3]; {TABLE_ADVICE}"
        )
    return side, side, 1


def _refuse_first_row(name: str, rows: Sequence[Sequence[str]], first: Table | None) -> None:
    """Refuse a first row whose width is not that of all others, since it would decide for them.

    Raises: UserError with both widths.
    """
    width, *others = [len(row) for row in rows if row != [""]]
    if not first and len(others) > 1 and len(set(others)) == 1 and width != others[0]:
        raise UserError(
            f"{name}, row 1 has {width} columns, and the rows below it {others[0]}; a label "
            f"that holds a separator needs quotes: {QUOTED_EXAMPLE}"
        )


def _refuse_text(table: Table, rows: Sequence[Sequence[str]], first: Table | None) -> None:
    """Refuse rows in which another column than that of the labels holds text.

    Raises: UserError with the column.
    """
    if first:  # this file may have a few rows only, all of them bad
        return
    full = [row for row in rows if len(row) == len(table.names)]
    for index, column in enumerate(table.names):
        texts = [row[index] for row in full]
        is_text = len(texts) > 1 and all(texts) and not any(map(is_number, texts))
        if is_text and index != table.label_index:
            position = "last" if index == len(table.names) - 1 else index + 1
            raise UserError(
                f"{table.name}: {column!r} holds {texts[0][:40]!r}, which is not a pixel; if it is "
                f"the label, set label_column={position}; {TABLE_ADVICE}"
            )


def _check_order(table: Table, first: Table | None, note: Callable[[str], object]) -> None:
    """Check that the columns of pixels are those of the first file, and look like pixels.

    Raises: UserError if they come in another order than in the first file.
    """
    if not table.header:
        return
    pixels = _list_pixels(table)
    others = _list_pixels(first or table)
    if pixels != others and sorted(pixels) == sorted(others):
        raise UserError(
            f"{table.name} has the columns of the first file in another order: "
            f"{', '.join(pixels[:3])}, ... and not {', '.join(others[:3])}, ...; write the pixels "
            "in the same order in all files"
        )
    for doubt in find_header_doubts(pixels):
        note(f"warning: {table.name}: {doubt}")


def _list_pixels(table: Table) -> list[str]:
    """List the columns of a table except that of the labels."""
    return [column for i, column in enumerate(table.names) if i != table.label_index]


def _refuse_table(
    name: str, names: Sequence[str], rows: Sequence[Sequence[str]], first: Table | None
) -> None:
    """Refuse rows with two or more columns of text: only the labels of pictures are text.

    Raises: UserError with such columns.
    """
    full = [row for row in rows if len(row) == len(names)]
    texts = [
        f"{column!r} holds {full[0][i][:40]!r}"
        for i, column in enumerate(names)
        if full and not any(is_number(row[i]) for row in full)
    ]
    if not first and len(full) > 1 and len(texts) > 1:
        raise UserError(
            f"{name} is a table and not pictures: {', '.join(texts[:3])}; {TABLE_ADVICE}; if a "
            f"label holds a separator, put it in quotes: {QUOTED_EXAMPLE}"
        )
