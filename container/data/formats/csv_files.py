"""CSV: a label and the pixels of one image in each row.

A block of rows is read in one of four ways, fastest first: a vectorized scan of digits (110 MB of
whole numbers 0-255 in 0.3 s on two cores), the same scan after the labels were cut out as text,
`numpy.loadtxt` for pixels such as `12.0`, and row by row, which finds the row and column at fault.
"""

import codecs
import contextlib
import functools
import io
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from container.data.formats.csv_tables import (
    QUOTED_EXAMPLE,
    TABLE_ADVICE,
    Table,
    describe,
    is_number,
    may_be_row,
)
from container.data.formats.csv_text import (
    Utf8Stream,
    explain_charset,
    find_separator,
    is_quoted_well,
    iterate_records,
    read_head,
    sample_rows,
    split_blocks,
    split_fields,
)
from container.data.formats.parts import MISSING_LABELS, Images, Options, Part, Source, Task

_BLOCK_BYTES = 1 << 19  # 0.25 to 4 MiB were equally fast, smaller blocks slower
_DOUBLED: Final = '"say ""x"""'
_FEW_COLUMNS: Final = 64  # pictures have more, tables of other values have less


def read(sources: Iterable[Source], options: Options) -> Iterator[Task]:
    """Cut CSV files into tasks; labels are in the column `label_column`, or else the first.

    Raises: UserError if the files differ in their columns, no image shape fits the columns, or a
    file is not text in `charset`.
    """
    first: Table | None = None
    for source in sources:
        with source.reading() as raw:
            stream = Utf8Stream(raw, source.name, options.charset)
            head = read_head(stream, _BLOCK_BYTES)
            # Lines may end in a carriage return only.
            old_style = b"\n" not in head and b"\r" in head
            if old_style:
                head = head.replace(b"\r", b"\n")
            blank = len(head) - len(head.lstrip(b"\r\n"))
            if blank == len(head):
                continue
            row = 1 + head[:blank].count(b"\n")
            head = head[blank:]
            table = describe(source.name, sample_rows(head), options, first)
            first = first or table
            header_lines = table.header.count(b"\n") + bool(table.header)
            for _ in range(header_lines):
                head = head.partition(b"\n")[2]
            for block in split_blocks(stream, head, _BLOCK_BYTES, old_style=old_style):
                yield functools.partial(_parse, block, row + header_lines, table)
                row += block.count(b"\n")


def looks_like_rows(head: bytes) -> bool:
    """Return whether `head` may begin a CSV file without a header: its first line is numbers."""
    line = head.removeprefix(codecs.BOM_UTF8).lstrip(b"\r\n").partition(b"\n")[0]
    fields = line.decode(errors="replace").split(find_separator(line).decode())
    return len(fields) > 2 and may_be_row(fields[1:-1])  # the last field may have been cut


def _parse(block: bytes, first_row: int, table: Table) -> Part:
    """Parse complete lines; the first is line `first_row`, counted from 1 as editors do."""
    columns = len(table.names)
    label = table.label_index
    separator = table.separator

    locate = functools.partial(_locate, table.name, _number_rows(block, first_row, table.header))
    values = _scan_digits(block, columns, separator[0], label)
    if values is not None:
        labels = values[:, label].astype(np.int64)
        pixels = np.delete(values, label, axis=1) if label else values[:, 1:]
        return Part(
            pixels.reshape(-1, *table.shape), labels, locate, guesses_label=table.guesses_label
        )
    labeled = _cut_labels(block, table)
    if labeled is not None:
        texts, rest = labeled
        values = _scan_digits(rest, columns - 1, separator[0])
        if values is None:
            values = _scan_numbers(rest, columns - 1, separator.decode())
        # loadtxt skips a row without pixels, which would shift the labels of those after it.
        if values is not None and len(values) == len(texts):
            images = values.reshape(-1, *table.shape)
            return Part(images, texts, locate, guesses_label=table.guesses_label)
    return _parse_slowly(block, first_row, table)


def _number_rows(block: bytes, first_row: int, header: bytes) -> Sequence[int]:
    """Return the number of each row of a block that is neither blank nor a repeated header."""
    if not (block.startswith(b"\n") or b"\n\n" in block or (header and header in block)):
        return range(first_row, first_row + block.count(b"\n"))
    lines = enumerate(block.split(b"\n"), first_row)
    return [row for row, line in lines if line not in (b"", header)]


def _locate(name: str, rows: Sequence[int], index: int) -> str:
    return f"{name}, row {rows[index]}"


def _cut_labels(block: bytes, table: Table) -> tuple[list[str], bytes] | None:
    """Return the labels, and the rows without them, or None if a row has to be looked at."""
    if table.header and table.header in block:
        return None
    texts, rests = [], []
    label, separator = table.label_index, table.separator
    try:
        for line in filter(None, block.split(b"\n")):
            if b'"' in line:
                texts_of = split_fields(line, separator, is_strict=True)
                fields = [field.encode() for field in texts_of]
            else:
                fields = line.split(separator, label + 1)
            texts.append(fields.pop(label).decode().strip())
            rests.append(separator.join(fields))
    except (UnicodeDecodeError, IndexError):
        return None
    if any(map(_is_missing, texts)):
        return None
    return texts, b"\n".join([*rests, b""])


def _scan_digits(
    block: bytes, columns: int, separator: int, label: int | None = None
) -> Images | None:
    """Read `[row, column] uint8` from numbers 0-255 of one to three digits, or None for other text.

    None also if a value in the column `label` has leading zeros, which are part of a name. Every
    operation works on the entire block.
    """
    text = np.frombuffer(block, np.uint8)
    values = text - np.uint8(48)
    digit = values < 10
    ends = np.flatnonzero(~digit)
    row_count = ends.size // columns
    if (
        not ends.size
        or ends.size != row_count * columns
        or ends[0] == 0
        or np.count_nonzero(text == 10) != row_count
        or not (text[ends[columns - 1 :: columns]] == 10).all()
        or np.count_nonzero(text == separator) != ends.size - row_count
        or (np.diff(ends) == 1).any()
        or (label is not None and _is_padded(text, ends, label, columns))
    ):
        return None
    values *= digit.view(np.uint8)
    # `pairs` is the value of the one or two digits that end at a byte; 0 at a separator.
    pairs = values.copy()
    pairs[1:] += values[:-1] * np.uint8(10)
    pairs *= digit.view(np.uint8)
    two = digit[1:] & digit[:-1]
    too_large = (pairs[:-1] + (values[1:] > 5) > 25) & digit[1:]
    too_large[2:] |= two[2:] & two[:-2]
    if too_large.any():
        return None
    pairs *= np.uint8(10)
    values[1:] += pairs[:-1]
    ends -= 1
    return values.take(ends).reshape(row_count, columns)


def _is_padded(text: Images, ends: NDArray[np.int64], label: int, columns: int) -> bool:
    """Return whether a value in the column `label` has leading zeros; `ends` are of all values."""
    label_ends = ends[label::columns]
    starts = np.zeros_like(label_ends)
    if label:
        starts = ends[label - 1 :: columns] + 1
    else:
        starts[1:] = ends[columns - 1 : -1 : columns] + 1
    return bool(((text[starts] == ord("0")) & (label_ends - starts > 1)).any())


def _scan_numbers(text: bytes, columns: int, separator: str) -> Images | None:
    """Read `[row, column] uint8` from numbers such as `12.0` and `"12"`; None for other text."""
    if not text.strip():
        return None  # loadtxt would warn
    try:
        numbers = np.loadtxt(
            io.BytesIO(text), delimiter=separator, quotechar='"', comments=None, ndmin=2
        )
    except ValueError:
        return None
    with np.errstate(invalid="ignore"):
        pixels = numbers.astype(np.uint8)
    if pixels.shape[1] != columns or not (pixels == numbers).all():
        return None
    return pixels


def _parse_slowly(block: bytes, first_row: int, table: Table) -> Part:
    """Parse row by row; a row that cannot be read becomes a fault with its row and column."""
    labels: list[str] = []
    images, places, faults = [], [], []
    width = len(table.names)
    ragged = 0
    for index, line in iterate_records(block, table.separator, width):
        if line == table.header:  # files that were joined repeat it (IN-5)
            continue
        where = f"{table.name}, row {first_row + index}"
        try:
            fields = split_fields(line, table.separator)
        except UnicodeDecodeError as error:
            faults.append(f"{where}: {explain_charset(error)}")
            continue
        if len(fields) != width:
            ragged += 1
            faults.append(f"{where}: {_describe_width(len(fields), width)}")
            continue
        if not is_quoted_well(line, table.separator, width):
            faults.append(
                f"{where}: text follows a closing quote; within quotes, write two: {_DOUBLED}"
            )
            continue
        text = fields.pop(table.label_index)
        if _is_missing(text):
            column_name = _name_column(table, table.label_index)
            faults.append(f"{where}, {column_name}: the label is missing")
            continue
        pixels = _parse_pixels(fields)
        if isinstance(pixels, int):
            column_name = _name_column(table, pixels + (pixels >= table.label_index))
            value = repr(fields[pixels][:40])
            faults.append(f"{where}, {column_name}: {value} is not a whole number from 0 to 255")
            continue
        images.append(pixels)
        labels.append(text)
        places.append(where)
    if faults and ragged + len(images) == 0 and width <= _FEW_COLUMNS:
        faults[0] += f"; {TABLE_ADVICE}"
    stacked = np.stack(images) if images else np.empty((0, width - 1), np.uint8)
    stacked = stacked.reshape(-1, *table.shape)
    return Part(stacked, labels, places.__getitem__, faults, table.guesses_label)


def _describe_width(found: int, expected: int) -> str:
    """Describe a row with another number of columns than the first one has."""
    text = f"{found} columns, expected {expected}"
    if found > expected:
        text += f" (a label that holds a separator needs quotes: {QUOTED_EXAMPLE})"
    return text


def _parse_pixels(fields: Sequence[str]) -> Images | int:
    """Return the pixels of one image, or the index of the first field that is not a pixel."""
    with contextlib.suppress(ValueError):
        values = np.array(fields, np.float64)
        good = (values >= 0) & (values <= 255) & (values == np.floor(values))
        if good.all() and "_" not in "".join(fields):  # 1_0 is a number only in Python
            return values.astype(np.uint8)
    return next(i for i, field in enumerate(fields) if not _is_pixel(field))


def _name_column(table: Table, index: int) -> str:
    name = table.names[index]
    number = f"column {index + 1}"
    if name == number:
        return number
    return f"{number} ({name})"


def _is_pixel(text: str) -> bool:
    return is_number(text) and 0 <= float(text) <= 255 and float(text) % 1 == 0


def _is_missing(label: str) -> bool:
    return label.casefold() in MISSING_LABELS
