"""Parquet in the layout of Hugging Face: a column of pictures and one of labels.

Rules of this file: pyarrow is imported with the first file, since our images do not contain it.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from container.data.formats import picture_files
from container.data.formats.parts import Options, write_label
from container.errors import PlatformError, UserError

if TYPE_CHECKING:
    import pyarrow as pa

MAGIC: Final = b"PAR1"
_IMAGE_NAMES: Final = ("image", "img", "picture", "jpg", "png")
_LABEL_NAMES: Final = ("label", "labels", "class", "fine_label", "target")
_COLUMNS_SHOWN: Final = 10
_NARROW: Final[dict[str, type[np.floating[Any]]]] = {"float": np.float32, "halffloat": np.float16}
_ROWS: Final = 256  # with pictures of a megabyte, a few hundred megabytes in memory


@dataclass(frozen=True)
class _Columns:
    """The columns of a file, and how its labels are written."""

    image: str
    label: str
    names: Sequence[str]
    """Of the classes, by their numbers; empty if the file does not have them."""
    narrow: type[np.floating[Any]] | None
    """The type of labels that are floats of fewer than 64 bits."""
    charset: str

    def write_label(self, value: Any) -> str:
        """Return the text of a label.

        Raises: ValueError if there is none, or it is not one text or number.
        """
        if value is None:
            raise ValueError("the label is missing")
        if self.names and isinstance(value, int):
            if not 0 <= value < len(self.names):
                raise ValueError(
                    f"its label {value!r} is not one of the {len(self.names)} classes of the file"
                )
            return self.names[value]
        return write_label(value if self.narrow is None else self.narrow(value), self.charset)


def read(paths: Sequence[Path], options: Options) -> Iterator[picture_files.Encoded]:
    """Yield the labeled pictures of files, whose columns may be called differently.

    Other columns are named by `options.note`.

    Raises: UserError if a file has no such columns or cannot be read; PlatformError if pyarrow is
    not installed.
    """
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ModuleNotFoundError as error:
        raise PlatformError(
            "reading Parquet needs pyarrow, which this image does not have; add the line "
            "`RUN pip install --no-cache-dir pyarrow` to its Dockerfile (docs/data.md)"
        ) from error
    for path in paths:
        try:
            with parquet.ParquetFile(path) as file:
                image, label = _choose_columns(path, file.schema_arrow, options.label_column)
                names = _find_class_names(file.schema_arrow, label)
                others = [name for name in file.schema_arrow.names if name not in (image, label)]
                if others:
                    text = ", ".join(others[:_COLUMNS_SHOWN])
                    options.note(f"passed over {len(others)} columns of {path}: {text}")
                narrow = _NARROW.get(str(file.schema_arrow.field(label).type))
                columns = _Columns(image, label, names, narrow, options.charset)
                start = 0
                for batch in file.iter_batches(_ROWS, columns=[image, label]):
                    yield from _label(f"{path}, row", start, batch, columns)
                    start += batch.num_rows
        except (pa.ArrowException, OSError) as error:
            raise UserError(f"{path} cannot be read: {str(error)[:200]}") from error


def _choose_columns(path: Path, schema: pa.Schema, label_column: str) -> tuple[str, str]:
    """Return the names of the columns of pictures and of labels.

    Raises: UserError with the columns if one is missing.
    """
    import pyarrow as pa

    def holds_pictures(column: Any) -> bool:
        kind = column.type
        if pa.types.is_struct(kind):
            return bool(kind.get_field_index("bytes") >= 0)
        return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))

    pictures = [column.name for column in schema if holds_pictures(column)]
    image = next((name for name in _IMAGE_NAMES if name in pictures), "")
    if not image and len(pictures) == 1:
        image = pictures[0]
    label = next((name for name in (label_column, *_LABEL_NAMES) if name in schema.names), "")
    if image and label:
        return image, label
    missing = "labels (set label_column)"
    if not image:
        missing = f"pictures: bytes, or a struct with bytes, called {', '.join(_IMAGE_NAMES)}"
    raise UserError(f"{path} has no column of {missing}; its columns are {', '.join(schema.names)}")


def _find_class_names(schema: pa.Schema, label: str) -> list[str]:
    """Return the names of the classes by their numbers; empty if the file does not have them."""
    try:
        document = json.loads((schema.metadata or {})[b"huggingface"])
        names = document["info"]["features"][label]["names"]
    except (KeyError, TypeError, ValueError, RecursionError):
        return []
    return [str(name) for name in names]


def _list_labels(column: pa.Array) -> list[Any]:
    """Return the values of a column; bytes in place of text that is not UTF-8."""
    import pyarrow as pa

    try:
        values: list[Any] = column.to_pylist()
    except UnicodeDecodeError:  # Arrow does not look at what a file calls text
        values = column.cast(pa.binary()).to_pylist()
    return values


def _label(
    place: str, start: int, batch: pa.RecordBatch, columns: _Columns
) -> Iterator[picture_files.Encoded]:
    labels = _list_labels(batch.column(columns.label))
    contents = batch.column(columns.image).to_pylist()
    for index, (entry, label) in enumerate(zip(contents, labels, strict=True), start):
        content, text, fault = entry, "", ""
        if isinstance(entry, dict):
            content = entry["bytes"]
        try:
            text = columns.write_label(label)
        except ValueError as error:
            fault = str(error)
        if not content:
            fault = "it holds no picture, perhaps only its path"
        yield f"{place} {index}", text, functools.partial(picture_files.load_bytes, content, fault)
