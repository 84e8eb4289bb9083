"""CSV: a label and the pixels of one image in each row.

A block of rows is read in one of four ways, fastest first: a vectorized scan of digits (110 MB of
whole numbers 0-255 in 0.3 s on two cores), the same scan after the labels were cut out as text,
`numpy.loadtxt` for pixels such as `12.0`, and row by row, which finds the row and column at fault.
"""

from __future__ import annotations

import functools
import io
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from container.data.formats.parts import Images, Options, Part, Shape, Source, Task
from container.errors import UserError

_BLOCK_BYTES = 1 << 19  # 0.25 to 4 MiB were equally fast, smaller blocks slower
_SEPARATORS = b",;\t"


@dataclass(frozen=True)
class _Table:
    """The columns of one CSV file, from its header or first row."""

    name: str
    separator: bytes
    names: tuple[str, ...]
    """`column N` if there is no header."""
    header: bytes
    """The line of the header; empty if there is none."""
    label_index: int
    shape: Shape


def read(sources: Iterable[Source], options: Options) -> Iterator[Task]:
    """Cut CSV files into tasks; labels are in the column `label_column`, or else the first.

    Raises: UserError if the files differ in their columns, or no image shape fits the columns.
    """
    first: _Table | None = None
    for source in sources:
        with source.reading() as stream:
            head = stream.read(_BLOCK_BYTES)
            while b"\n" not in head and (more := stream.read(_BLOCK_BYTES)):
                head += more
            # Lines may end in a carriage return only.
            old_style = b"\n" not in head and b"\r" in head
            head = head.removeprefix(b"\xef\xbb\xbf")
            if old_style:
                head = head.replace(b"\r", b"\n")
            blank = len(head) - len(head.lstrip(b"\r\n"))
            if blank == len(head):
                continue
            row = 1 + head[:blank].count(b"\n")
            line, _, rest = head[blank:].partition(b"\n")
            table = _describe(source.name, line.rstrip(b"\r"), options, first)
            first = first or table
            head = rest if table.header else head[blank:]
            for block in _split_rows(stream, head, old_style=old_style):
                yield functools.partial(_parse, block, row + bool(table.header), table)
                row += block.count(b"\n")


def looks_like_rows(head: bytes) -> bool:
    """Return whether `head` may begin a CSV file without a header: its first line is numbers."""
    line = head.removeprefix(b"\xef\xbb\xbf").lstrip(b"\r\n").partition(b"\n")[0]
    fields = [_clean(field) for field in line.split(_find_separator(line))]
    return len(fields) > 2 and _may_be_row(fields[:-1])  # the last field may have been cut


def _describe(name: str, line: bytes, options: Options, first: _Table | None) -> _Table:
    """Describe a file by its first line, and by the first file.

    Raises: UserError if the columns are not a label and the pixels of an image.
    """
    separator = _find_separator(line)
    fields = [_clean(field) for field in line.split(separator)]
    if len(fields) < 2:
        message = (
            f"{name} has {len(fields)} column; expected a label and pixels separated by commas"
        )
        raise UserError(message)
    if first is not None and len(fields) != len(first.names):
        message = f"{name} has {len(fields)} columns, {first.name} has {len(first.names)}"
        raise UserError(message)
    shape = options.image_shape or _infer_shape(name, len(fields) - 1)
    if math.prod(shape) != len(fields) - 1:
        message = (
            f"{name} has {len(fields) - 1} pixels per row; image_shape={list(shape)} needs "
            f"{math.prod(shape)}"
        )
        raise UserError(message)
    if options.label_column in fields or not _may_be_row(fields):
        label_index = _find_label(name, fields, options.label_column)
        return _Table(name, separator, tuple(fields), line, label_index, shape)
    if first is not None:  # only the first file of a set that was split has a header
        return _Table(name, separator, first.names, b"", first.label_index, shape)
    names = tuple(f"column {i + 1}" for i in range(len(fields)))
    return _Table(name, separator, names, b"", 0, shape)


def _find_separator(line: bytes) -> bytes:
    return max((line.count(byte), -i, bytes([byte])) for i, byte in enumerate(_SEPARATORS))[2]


def _may_be_row(fields: Sequence[str]) -> bool:
    """Return whether most fields are numbers: a row, perhaps with bad pixels, but not a header."""
    return sum(map(_is_number, fields[1:])) >= len(fields[1:]) / 2


def _find_label(name: str, names: Sequence[str], label_column: str) -> int:
    if label_column in names:
        return names.index(label_column)
    stems = [column.rstrip("0123456789_.-x") for column in names[:2]]
    if label_column == "label" and stems[0] != stems[-1]:
        return 0
    shown = ", ".join(names[:4])
    if len(names) > 4:
        shown += f", ... {names[-1]}"
    message = (
        f"{name} has no column {label_column!r}: its {len(names)} columns are {shown}; "
        "set label_column"
    )
    raise UserError(message)


def _infer_shape(name: str, pixel_count: int) -> Shape:
    side = math.isqrt(pixel_count)
    if side * side != pixel_count:
        message = (
            f"{name}: {pixel_count} pixels per row are not a square image; set image_shape to "
            "height, width and channels, such as [32, 32, 3]"
        )
        raise UserError(message)
    return side, side, 1


def _split_rows(stream: BinaryIO, head: bytes, *, old_style: bool) -> Iterator[bytes]:
    """Cut text into blocks of whole lines, each of which ends in a newline."""
    rest = head
    while more := stream.read(_BLOCK_BYTES):
        rest += more.replace(b"\r", b"\n") if old_style else more
        end = rest.rfind(b"\n") + 1
        if end:
            yield _unify(rest[:end])
            rest = rest[end:]
    if rest:
        yield _unify(rest.removesuffix(b"\n") + b"\n")


def _unify(block: bytes) -> bytes:
    return block.replace(b"\r\n", b"\n") if b"\r" in block else block


def _parse(block: bytes, first_row: int, table: _Table) -> Part:
    """Parse complete lines; the first is line `first_row`, counted from 1 as editors do."""
    columns = len(table.names)
    label = table.label_index
    separator = table.separator

    def locate(index: int) -> str:
        lines = enumerate(block.split(b"\n"), first_row)
        rows = [row for row, line in lines if line not in (b"", table.header)]
        return f"{table.name}, row {rows[index]}"

    values = _scan_digits(block, columns, separator[0])
    if values is not None:
        labels = values[:, label].astype(np.int64)
        pixels = np.delete(values, label, axis=1) if label else values[:, 1:]
        return Part(pixels.reshape(-1, *table.shape), labels, locate)
    texts, rests = [], []
    for line in filter(None, block.split(b"\n")):
        fields = line.split(separator, label + 1)
        texts.append(_clean(fields.pop(label)) if len(fields) > label else "")
        rests.append(separator.join(fields))
    if all(texts) and not (table.header and table.header in block):
        rest = b"\n".join([*rests, b""])
        values = _scan_digits(rest, columns - 1, separator[0])
        if values is None:
            values = _scan_numbers(rest, columns - 1, _decode(separator))
        if values is not None:
            return Part(values.reshape(-1, *table.shape), texts, locate)
    return _parse_slowly(block, first_row, table)


def _scan_digits(block: bytes, columns: int, separator: int) -> Images | None:
    """Read `[row, column] uint8` from numbers 0-255 of one to three digits; None for other text.

    Every operation works on the entire block.
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


def _scan_numbers(text: bytes, columns: int, separator: str) -> Images | None:
    """Read `[row, column] uint8` from numbers such as `12.0` and `"12"`; None for other text."""
    try:
        numbers = np.loadtxt(io.BytesIO(text), delimiter=separator, quotechar='"', ndmin=2)
    except ValueError:
        return None
    with np.errstate(invalid="ignore"):
        pixels = numbers.astype(np.uint8)
    if pixels.shape[1] != columns or not (pixels == numbers).all():
        return None
    return pixels


def _parse_slowly(block: bytes, first_row: int, table: _Table) -> Part:
    """Parse row by row; a row that cannot be read becomes a fault with its row and column."""
    labels: list[str] = []
    images, places, faults = [], [], []
    width = len(table.names)
    for row, line in enumerate(block.split(b"\n"), first_row):
        if not line or line == table.header:  # files that were joined repeat it (IN-5)
            continue
        fields = [_clean(field) for field in line.split(table.separator)]
        where = f"{table.name}, row {row}"
        if len(fields) != width:
            faults.append(f"{where}: {len(fields)} columns, expected {width}")
            continue
        text = fields.pop(table.label_index)
        if not text:
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
    stacked = np.stack(images) if images else np.empty((0, width - 1), np.uint8)
    return Part(stacked.reshape(-1, *table.shape), labels, places.__getitem__, faults)


def _parse_pixels(fields: Sequence[str]) -> Images | int:
    """Return the pixels of one image, or the index of the first field that is not a pixel."""
    try:
        values = np.array(fields, np.float64)
        good = (values >= 0) & (values <= 255) & (values == np.floor(values))
    except ValueError:
        good = np.array([_is_pixel(field) for field in fields])
    if not good.all():
        return int(good.argmin())
    return values.astype(np.uint8)


def _name_column(table: _Table, index: int) -> str:
    name = table.names[index]
    number = f"column {index + 1}"
    if name == number:
        return number
    return f"{number} ({name})"


def _is_pixel(text: str) -> bool:
    return _is_number(text) and 0 <= float(text) <= 255 and float(text) % 1 == 0


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _clean(field: bytes) -> str:
    return _decode(field).strip().strip('"').strip()


def _decode(text: bytes) -> str:
    return text.decode("utf-8", errors="replace")
