"""Tables in Parquet and Arrow, where pyarrow is installed; our images leave it out.

A file may expand without bound: a value that repeats takes no bytes, and buffers are compressed. So
its rows are counted before they are read, they are read in pieces, and each piece is charged.
"""

import importlib
import importlib.util
import io
import struct
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from container.errors import RequestError
from container.serving.records.table import Table

_PIECE_ROWS: Final = 4096
_COLUMNS_MAXIMUM: Final = 10_000
_VALUE_BYTES: Final = 16  # in its column, and in the array of all
_TEXT_BYTES: Final = 64
_FOOTER_SHARE: Final = 16
"""What the description of columns and row groups takes, for each of its bytes."""
_BATCH_BYTES: Final = 1024
_BUFFER_BYTES: Final = 256  # of a column in each batch

Charge = Callable[[int], None]
"""Accounts for so many bytes. Raises: RequestError 413 if the request has no more room."""


def decode_parquet(body: bytes, charge: Charge) -> Table:
    """Decode a Parquet file. Raises: RequestError 400, 413, or 415 without pyarrow."""
    return _decode(body, "application/x-parquet", _read_parquet, charge)


def decode_arrow(body: bytes, charge: Charge) -> Table:
    """Decode an Arrow stream or file. Raises: RequestError 400, 413, or 415 without pyarrow."""
    return _decode(body, "application/vnd.apache.arrow.stream", _read_arrow, charge)


def _decode(
    body: bytes, name: str, read: Callable[[Any, bytes, Charge], Iterator[Any]], charge: Charge
) -> Table:
    if importlib.util.find_spec("pyarrow") is None:
        message = f"{name} needs pyarrow, which this image lacks; add it to the image"
        raise RequestError(415, message)
    arrow: Any = importlib.import_module("pyarrow")
    try:
        batches = list(read(arrow, body, charge))
        if not batches or not sum(batch.num_rows for batch in batches):
            raise RequestError(400, f"the {name} holds no row")
        table = arrow.Table.from_batches(batches)
        columns = tuple(_to_column(column) for column in table.columns)
        return Table(columns, tuple(table.column_names))
    except (arrow.ArrowException, struct.error, OSError, ValueError, TypeError) as error:
        reason = str(error).partition("\n")[0][:200]
        raise RequestError(400, f"the body is not {name}: {reason}") from error


def _read_parquet(arrow: Any, body: bytes, charge: Charge) -> Iterator[Any]:
    parquet: Any = importlib.import_module("pyarrow.parquet")
    if body.endswith(b"PAR1"):
        charge(int.from_bytes(body[-8:-4], "little") * _FOOTER_SHARE)
    facts = parquet.read_metadata(io.BytesIO(body))
    schema = facts.schema.to_arrow_schema()
    texts = _check_columns(arrow, schema)
    # A text that repeats stays one text.
    file = parquet.ParquetFile(io.BytesIO(body), metadata=facts, read_dictionary=texts)
    _charge_rows(charge, facts.num_rows, schema, texts)
    charge(facts.num_row_groups * _BATCH_BYTES)
    for group in range(facts.num_row_groups):
        charge(facts.row_group(group).total_byte_size)
    for batch in file.iter_batches(_PIECE_ROWS, use_threads=False):
        charge(batch.nbytes)
        yield batch


def _read_arrow(arrow: Any, body: bytes, charge: Charge) -> Iterator[Any]:
    source = arrow.py_buffer(body)
    if body.startswith(b"ARROW1"):  # a file is a stream between two marks, and a footer
        source = source.slice(8)
    _check_messages(arrow, source)
    stream = arrow.ipc.open_stream(source)
    texts = _check_columns(arrow, stream.schema)
    for batch in stream:
        batch.validate(full=True)  # pyarrow reads wherever an offset or index of the body leads
        charge(batch.nbytes + _BATCH_BYTES + len(stream.schema) * _BUFFER_BYTES)
        _charge_rows(charge, batch.num_rows, stream.schema, texts)
        yield batch


def _check_messages(arrow: Any, source: Any) -> None:
    """Check that no buffer is compressed: pyarrow takes the memory that each one promises."""
    for message in arrow.ipc.MessageReader.open_stream(source):
        if message.type in ("record batch", "dictionary") and _is_compressed(message):
            message_text = "the buffers of the Arrow stream are compressed"
            raise RequestError(400, f"{message_text}; send them as they are, or Parquet")


def _is_compressed(message: Any) -> bool:
    """Return whether a message names a codec: the field `compression` of its `RecordBatch`.

    Source: Message.fbs and RecordBatch of the Arrow format, read as FlatBuffers lays tables out.
    """
    metadata = bytes(message.metadata)
    batch = _follow(metadata, _follow(metadata, 0), 2)
    if message.type == "dictionary":
        batch = _follow(metadata, batch, 1)
    return bool(_find_field(metadata, batch, 3))


def _follow(metadata: bytes, table: int, field: int = -1) -> int:
    """Return the position of the table that a field, or the first word, points to."""
    place = table
    if field >= 0:
        place = _find_field(metadata, table, field)
    [offset] = struct.unpack_from("<I", metadata, place)
    return int(place + offset)


def _find_field(metadata: bytes, table: int, field: int) -> int:
    """Return the position of a field of a table; 0 if the table lacks it."""
    [back] = struct.unpack_from("<i", metadata, table)
    [size] = struct.unpack_from("<H", metadata, table - back)
    if 4 + 2 * field >= size:
        return 0
    [offset] = struct.unpack_from("<H", metadata, table - back + 4 + 2 * field)
    return table + offset if offset else 0


def _charge_rows(charge: Charge, rows: int, schema: Any, texts: Sequence[str]) -> None:
    charge(rows * (len(schema) * _VALUE_BYTES + len(texts) * _TEXT_BYTES))


def _check_columns(arrow: Any, schema: Any) -> list[str]:
    """Check that each column holds numbers, text or times; return the names of those of text."""
    if not 0 < len(schema) <= _COLUMNS_MAXIMUM:
        message = f"the table has {len(schema)} columns; 1 to {_COLUMNS_MAXIMUM} are expected"
        raise RequestError(400, message)
    types = arrow.types
    texts = []
    for column in schema:
        kind = column.type
        if types.is_dictionary(kind):
            kind = kind.value_type
        if types.is_string(kind) or types.is_large_string(kind):
            texts.append(column.name)
        elif not any(test(kind) for test in (types.is_integer, types.is_floating, *_others(types))):
            message = f"the column {column.name[:100]!r} is of type {str(kind)[:100]}"
            raise RequestError(400, f"{message}; numbers, texts and times are expected")
    return texts


def _others(types: Any) -> tuple[Callable[[Any], bool], ...]:
    return types.is_boolean, types.is_temporal, types.is_null


def _to_column(column: Any) -> NDArray[Any]:
    if hasattr(column.type, "value_type"):  # a dictionary
        array = np.concatenate([_look_up(chunk) for chunk in column.chunks])
    else:
        array = column.to_numpy()
    if array.dtype.kind in "iufb":
        return array
    values: NDArray[Any] = array.astype(object)
    missing = [value is None or value != value for value in values]  # noqa: PLR0124 - NaN, NaT
    values[missing] = np.nan
    if all(isinstance(value, (bool, int, float)) for value in values):
        return np.array(values, np.float64)
    return values


def _look_up(chunk: Any) -> NDArray[Any]:
    """Return the value of each index of a dictionary, or None for a missing index."""
    values = chunk.dictionary.to_numpy(zero_copy_only=False).astype(object)
    indices = chunk.indices.fill_null(len(values)).to_numpy(zero_copy_only=False)
    if len(indices) and not 0 <= indices.min() <= indices.max() <= len(values):
        raise RequestError(400, "the table is damaged: an index leads out of its dictionary")
    extended = np.empty(len(values) + 1, object)
    extended[:-1] = values
    found: NDArray[Any] = extended[indices]
    return found
