"""Parquet in the layout of Hugging Face: a column of pictures and one of labels.

Rules of this file: pyarrow is imported with the first file, since our images do not contain it.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from container.data.formats import picture_files
from container.data.formats.parts import Options
from container.errors import PlatformError, UserError

if TYPE_CHECKING:
    import pyarrow as pa

MAGIC: Final = b"PAR1"
_IMAGE_NAMES: Final = ("image", "img", "picture", "jpg", "png")
_LABEL_NAMES: Final = ("label", "labels", "class", "fine_label", "target")
_ROWS: Final = 256  # with pictures of a megabyte, a few hundred megabytes in memory


def read(paths: Sequence[Path], options: Options) -> Iterator[picture_files.Encoded]:
    """Yield the labeled pictures of files, whose columns may be called differently.

    Raises: UserError if a file has no such columns or cannot be read; PlatformError if pyarrow is
    not installed.
    """
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ModuleNotFoundError as error:
        message = (
            "reading Parquet needs pyarrow, which this image does not have; add the line "
            "`RUN pip install --no-cache-dir pyarrow` to its Dockerfile (docs/data.md)"
        )
        raise PlatformError(message) from error
    for path in paths:
        try:
            with parquet.ParquetFile(path) as file:
                image, label = _choose_columns(path, file.schema_arrow, options.label_column)
                names = _find_class_names(file.schema_arrow, label)
                start = 0
                for batch in file.iter_batches(_ROWS, columns=[image, label]):
                    yield from _label(path, start, batch.to_pylist(), (image, label, names))
                    start += batch.num_rows
        except (pa.ArrowException, OSError) as error:
            message = f"{path} cannot be read: {str(error)[:200]}"
            raise UserError(message) from error


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
    message = f"{path} has no column of {missing}; its columns are {', '.join(schema.names)}"
    raise UserError(message)


def _find_class_names(schema: pa.Schema, label: str) -> list[str]:
    """Return the names of the classes by their numbers; empty if the file does not have them."""
    try:
        document = json.loads((schema.metadata or {})[b"huggingface"])
        names = document["info"]["features"][label]["names"]
    except (KeyError, TypeError, ValueError):
        return []
    return [str(name) for name in names]


def _label(
    path: Path, start: int, rows: Sequence[Any], columns: tuple[str, str, Sequence[str]]
) -> Iterator[picture_files.Encoded]:
    image, label, names = columns
    for index, row in enumerate(rows, start):
        content, text, fault = row[image], row[label], ""
        if isinstance(content, dict):
            content = content["bytes"]
        if not content:
            fault = "it holds no picture, perhaps only its path"
        elif text is None or (names and not 0 <= int(text) < len(names)):
            fault = f"its label {text!r} is none of the {len(names)} classes of the file"
        elif names:
            text = names[int(text)]
        place = f"{path}, row {index}"
        yield place, str(text), functools.partial(picture_files.load_bytes, content, fault)
