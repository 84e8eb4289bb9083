"""Labelled images from a channel directory: CSV files to one uint8 array.

`parse_rows` tries three readings of a file, fastest first: a vectorised digit scan (whole numbers 0-255, 110 MB in
0.3 s on two cores), the same after the labels were cut out as text, and `numpy.loadtxt` for pixels such as `12.0`. Only
when all three refuse the text does a slow reading find out which row and column is at fault.

Rules of this file: NumPy and the standard library only, since evaluation reads with it too; a channel is never
written to (IN-3).
"""

from __future__ import annotations

import gzip
import io
import math
import os
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from container.errors import UserError

_SUFFIXES = (".csv", ".csv.gz")
_CHUNK_BYTES = 1 << 19  # measured: 0.25 to 4 MiB are alike, smaller ones slower
_FAULTS_SHOWN = 5
_SEPARATORS = b",;\t"

Images = npt.NDArray[np.uint8]
Label = int | str


@dataclass(frozen=True)
class LabelledImages:
    """A set of images in memory, in the order of their files and rows."""

    images: Images
    """`[image, height, width, channel]` 0-255."""
    labels: npt.NDArray[np.int32]
    """`[image]`, indices into `classes`."""
    classes: tuple[Label, ...]
    """The labels as the files write them, sorted: integers if all of them are."""


@dataclass(frozen=True)
class _Table:
    """One CSV file: the text below its header, and what the header or the first row says."""

    path: Path
    text: bytes
    first_row: int
    """Line number of the first row of `text`, counted from 1 as editors do."""
    separator: bytes
    names: tuple[str, ...]
    """Names of the columns; `column N` where there is no header."""
    label_index: int


def load(
    directory: Path,
    *,
    label_column: str = "label",
    image_shape: tuple[int, int, int] | None = None,
    classes: tuple[Label, ...] | None = None,
) -> LabelledImages:
    """Load every CSV file (`.csv`, `.csv.gz`) below `directory`, in the order of their names.

    A file may have a header. The label is the column named `label_column`, else the first; the others are pixels 0-255,
    row by row, channels last. `image_shape` is height, width, channels; without it the image is square and grey.
    With `classes` given, labels are looked up there, otherwise they make up the classes. Hidden and empty files are
    passed over (IN-11).

    Raises: UserError that names file, row and column of up to five faults.
    """
    paths = _list_files(directory)
    with ThreadPoolExecutor(max_workers=len(os.sched_getaffinity(0))) as pool:
        tables = [_open_table(path, label_column) for path in paths]
        columns = len(tables[0].names)
        for table in tables[1:]:
            if len(table.names) != columns:
                message = f"{table.path} has {len(table.names)} columns, {tables[0].path} has {columns}"
                raise UserError(message)
        if columns < 2:
            message = f"{tables[0].path} has {columns} column; a label and pixels are expected, separated by commas"
            raise UserError(message)
        parts = [_parse_table(table, pool) for table in tables]
    pixels = parts[0][1] if len(parts) == 1 else np.concatenate([part[1] for part in parts])
    if not len(pixels):
        message = f"{directory} holds no rows: {_name_some(paths)} hold nothing but a header"
        raise UserError(message)
    shape = image_shape or _infer_shape(directory, pixels.shape[1])
    if math.prod(shape) != pixels.shape[1]:
        message = f"{paths[0]} has {pixels.shape[1]} pixels a row; image_shape={list(shape)} needs {math.prod(shape)}"
        raise UserError(message)
    distinct, indices = np.unique(_join_labels([part[0] for part in parts]), return_inverse=True)
    found: tuple[Label, ...] = tuple(distinct.tolist())
    if classes is None:
        return LabelledImages(pixels.reshape(-1, *shape), indices.astype(np.int32), found)
    positions = {str(label): i for i, label in enumerate(classes)}  # `3` and `"3"` are one label
    lookup = np.array([positions.get(str(label), -1) for label in found], np.int32)
    if (lookup < 0).any():
        strangers = [str(label) for label in found if str(label) not in positions]
        where = _find_row(int(np.argmax(lookup[indices] < 0)), tables, [len(part[1]) for part in parts])
        message = (
            f"{where}: a label is none of the {len(classes)} classes {', '.join(map(str, classes[:20]))}"
            f"{' ...' if len(classes) > 20 else ''}; unknown here: {', '.join(map(repr, strangers[:5]))}"
        )
        raise UserError(message)
    return LabelledImages(pixels.reshape(-1, *shape), lookup[indices], classes)


def _list_files(directory: Path) -> list[Path]:
    if not directory.is_dir():
        message = f"the channel directory {directory} does not exist"
        raise UserError(message)
    seen = [
        path
        for path in sorted(directory.rglob("*"))
        if not any(part.startswith(".") for part in path.relative_to(directory).parts)
        and path.is_file()
        and path.stat().st_size
    ]
    paths = [path for path in seen if path.name.lower().endswith(_SUFFIXES)]
    if not paths:
        found = f"found {_name_some(seen)}" if seen else "it holds no files, or only empty or hidden ones"
        message = f"{directory} holds no CSV files ({' or '.join(_SUFFIXES)}): {found}"
        raise UserError(message)
    return paths


def _name_some(paths: Sequence[Path]) -> str:
    return ", ".join(path.name for path in paths[:3]) + (f" and {len(paths) - 3} more" if len(paths) > 3 else "")


def _open_table(path: Path, label_column: str) -> _Table:
    try:
        text = path.read_bytes()
        if path.suffix.lower() == ".gz":
            text = gzip.decompress(text)
    except (OSError, EOFError, zlib.error) as error:
        message = f"{path} cannot be read: {error}"
        raise UserError(message) from error
    text = text.removeprefix(b"\xef\xbb\xbf")
    if b"\r" in text:
        text = text.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    blank = len(text) - len(text.lstrip(b"\n"))
    first_line, _, rest = text[blank:].partition(b"\n")
    separator = max((first_line.count(byte), -i, bytes([byte])) for i, byte in enumerate(_SEPARATORS))[2]
    fields = [_decode(field).strip().strip('"').strip() for field in first_line.split(separator)]
    if label_column not in fields and _may_be_row(fields):
        names = tuple(f"column {i + 1}" for i in range(len(fields)))
        return _Table(path, text[blank:], blank + 1, separator, names, 0)
    return _Table(path, rest, blank + 2, separator, tuple(fields), _find_label(path, fields, label_column))


def _may_be_row(fields: Sequence[str]) -> bool:
    """Tell a row, even one with a few bad pixels, from a header: most of a header's fields are no numbers."""
    return sum(map(_is_number, fields[1:])) >= len(fields[1:]) / 2


def _find_label(path: Path, names: Sequence[str], label_column: str) -> int:
    if label_column in names:
        return names.index(label_column)
    stems = [name.rstrip("0123456789_.-x") for name in names[:2]]
    if label_column == "label" and stems[0] != stems[-1]:
        return 0
    shown = ", ".join(names[:4]) + (f", ... {names[-1]}" if len(names) > 4 else "")
    message = f"{path} has no column {label_column!r}: its {len(names)} columns are {shown}; set label_column"
    raise UserError(message)


def _parse_table(table: _Table, pool: ThreadPoolExecutor) -> tuple[list[str] | npt.NDArray[np.int64], Images]:
    """Parse one file's rows into labels, as integers or as text, and pixels `[row, pixel]`."""
    parts = list(pool.map(lambda chunk: _parse_rows(chunk, table), _split_rows(table.text)))
    whole = [part for part in parts if part is not None]
    if len(whole) < len(parts):
        raise UserError.from_faults("the data cannot be read", _find_faults(table))
    row_count = sum(len(pixels) for _, pixels in whole)
    images = np.empty((row_count, len(table.names) - 1), np.uint8)
    at = 0
    for _, pixels in whole:
        images[at : at + len(pixels)] = pixels
        at += len(pixels)
    if all(isinstance(labels, np.ndarray) for labels, _ in whole):
        return np.concatenate([labels for labels, _ in whole] or [np.empty(0)]).astype(np.int64), images
    return [str(label) for labels, _ in whole for label in labels], images


def _split_rows(text: bytes) -> Iterator[memoryview]:
    """Cut text into pieces of whole lines."""
    view, start = memoryview(text), 0
    while start < len(text):
        end = start + _CHUNK_BYTES
        if end < len(text):
            end = text.rfind(b"\n", start, end) + 1 or text.find(b"\n", end) + 1 or len(text)
        yield view[start:end]
        start = end


def _parse_rows(text: memoryview, table: _Table) -> tuple[Any, Images] | None:
    """Parse whole lines into labels (int64 array or list of texts) and pixels; None if a row is faulty."""
    columns, label, separator = len(table.names), table.label_index, table.separator
    block = bytes(text) if text[-1] == 10 else bytes(text) + b"\n"
    values = _scan_digits(block, columns, separator[0])
    if values is not None:
        return values[:, label].astype(np.int64), np.delete(values, label, axis=1) if label else values[:, 1:]
    labels, rests = [], []
    for line in filter(None, block.split(b"\n")):
        fields = line.split(separator, label + 1)
        labels.append(_decode(fields.pop(label)).strip().strip('"').strip() if len(fields) > label else "")
        rests.append(separator.join(fields))
    if not all(labels):
        return None
    values = _scan_digits(b"\n".join([*rests, b""]), columns - 1, separator[0])
    if values is not None:
        return labels, values
    try:
        numbers = np.loadtxt(io.BytesIO(b"\n".join(rests)), delimiter=_decode(separator), quotechar='"', ndmin=2)
    except ValueError:
        return None
    with np.errstate(invalid="ignore"):
        pixels = numbers.astype(np.uint8)
    return (labels, pixels) if pixels.shape == (len(labels), columns - 1) and (pixels == numbers).all() else None


def _scan_digits(block: bytes, columns: int, separator: int) -> Images | None:
    """Read `[row, column] uint8` from lines of whole numbers 0-255 without sign, space or more than three digits.

    All work is done on whole arrays of bytes; None if the text holds anything else.
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


def _find_faults(table: _Table) -> list[str]:
    """Read a file slowly and describe its first faults."""
    faults: list[str] = []
    names, separator = table.names, _decode(table.separator)
    for row, line in enumerate(_decode(table.text).split("\n"), table.first_row):
        if not line:
            continue
        fields = [field.strip().strip('"').strip() for field in line.split(separator)]
        where = f"{table.path}, row {row}"
        if len(fields) != len(names):
            faults.append(f"{where}: {len(fields)} columns, expected {len(names)}")
        elif not fields[table.label_index]:
            faults.append(f"{where}, {_name_column(table, table.label_index)}: the label is missing")
        else:
            for i, field in enumerate(fields):
                if i != table.label_index and not _is_pixel(field):
                    faults.append(f"{where}, {_name_column(table, i)}: {field[:40]!r} is no whole number from 0 to 255")
                    break
        if len(faults) == _FAULTS_SHOWN:
            break
    return faults or [f"{table.path} is not the CSV text that was expected"]


def _name_column(table: _Table, index: int) -> str:
    name = table.names[index]
    return name if name == f"column {index + 1}" else f"column {index + 1} ({name})"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _is_pixel(text: str) -> bool:
    return _is_number(text) and 0 <= float(text) <= 255 and float(text).is_integer()


def _decode(text: bytes) -> str:
    return text.decode("utf-8", errors="replace")


def _infer_shape(directory: Path, pixel_count: int) -> tuple[int, int, int]:
    side = math.isqrt(pixel_count)
    if side * side != pixel_count:
        message = (
            f"{directory}: the rows have {pixel_count} pixels, which is no square: set image_shape to "
            "height, width and channels, such as [32, 32, 3]"
        )
        raise UserError(message)
    return side, side, 1


def _join_labels(parts: list[list[str] | npt.NDArray[np.int64]]) -> npt.NDArray[Any]:
    """Join the files' labels: integers if every one of them is (`7`, `7.0`), otherwise text."""
    try:
        return np.concatenate([part if isinstance(part, np.ndarray) else _to_integers(part) for part in parts])
    except ValueError:
        return np.array([str(label) for part in parts for label in part])


def _to_integers(labels: list[str]) -> npt.NDArray[np.int64]:
    integers = {}
    for label in set(labels):
        value = float(label)
        if not value.is_integer() or "_" in label:
            raise ValueError(label)
        integers[label] = int(value)
    return np.array([integers[label] for label in labels], np.int64)


def _find_row(position: int, tables: Sequence[_Table], row_counts: Sequence[int]) -> str:
    """Name the file and row of the image at `position` of the whole set."""
    for table, row_count in zip(tables, row_counts, strict=True):
        if position < row_count:
            return f"{table.path}, row {table.first_row + position}"
        position -= row_count
    raise IndexError(position)
