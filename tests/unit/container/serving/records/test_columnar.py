"""Parquet and Arrow."""

import importlib.util
import io
import math
import struct
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from container.errors import RequestError
from container.serving.bodies.content_encoding import Expansion
from container.serving.records import columnar

TABLE = pa.table({"a": [1, None, 3], "b": ["x", None, "x"], "c": [1.5, 2.5, 3.5]})


def write_parquet(table: Any, **options: Any) -> bytes:
    stream = io.BytesIO()
    parquet.write_table(table, stream, **options)
    return stream.getvalue()


def write_arrow(table: Any, codec: str | None = None, *, as_file: bool = False) -> bytes:
    stream = io.BytesIO()
    make = pa.ipc.new_file if as_file else pa.ipc.new_stream
    options = pa.ipc.IpcWriteOptions(compression=codec)
    with make(stream, table.schema, options=options) as writer:
        writer.write_table(table)
    return stream.getvalue()


def decode(body: bytes, room: int = 100_000) -> Any:
    take = Expansion(room).take
    if body.startswith(b"PAR1"):
        return columnar.decode_parquet(body, take)
    return columnar.decode_arrow(body, take)


TEXTS = TABLE.set_column(1, "b", TABLE["b"].dictionary_encode())


@pytest.mark.parametrize(
    "body",
    [
        write_parquet(TABLE),
        write_arrow(TABLE),
        write_arrow(TABLE, as_file=True),
        write_arrow(TEXTS),
    ],
)
def test_table_has_its_columns_with_nan_for_what_is_missing(body: bytes) -> None:
    table = decode(body)
    assert table.names == ("a", "b", "c")
    assert repr(table.to_array().tolist()) == repr(
        [[1.0, "x", 1.5], [math.nan, math.nan, 2.5], [3.0, "x", 3.5]]
    )


@pytest.mark.parametrize("codec", ["lz4", "zstd"])
@pytest.mark.parametrize("table", [TABLE, pa.table({"a": pa.array(["x"]).dictionary_encode()})])
@pytest.mark.parametrize("as_file", [False, True])
def test_compressed_buffers_are_refused_before_they_are_read(
    codec: str, table: Any, as_file: bool
) -> None:
    """SEC-6: pyarrow allocates what a buffer promises."""
    with pytest.raises(RequestError, match="compressed"):
        decode(write_arrow(table, codec, as_file=as_file))


@pytest.mark.parametrize(
    "body",
    [
        write_parquet(pa.table({"a": [7] * 1_000_000})),
        write_parquet(pa.table({"a": ["long" * 1000] * 100_000}), compression="zstd"),
        write_arrow(pa.table({"a": pa.nulls(10_000_000)})),
    ],
)
def test_table_that_expands_too_far_is_refused(body: bytes) -> None:
    """SEC-6."""
    with pytest.raises(RequestError) as caught:
        decode(body, 10 * len(body) + 10_000)
    assert caught.value.status == 413


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (write_parquet(TABLE)[:-9], "not application/x-parquet"),
        (write_arrow(TABLE)[:40], "not application/vnd.apache.arrow.stream"),
        (b"\xff\xff\xff\xff", "arrow.stream"),
        (write_parquet(TABLE.slice(0, 0)), "no row"),
        (write_parquet(pa.table({"a": [[1, 2]]})), "'a' is of type list"),
    ],
)
def test_fault_is_the_clients(body: bytes, message: str) -> None:
    with pytest.raises(RequestError, match=message) as caught:
        decode(body)
    assert caught.value.status == 400


def test_without_pyarrow_the_media_type_is_not_supported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(RequestError, match="pyarrow, which this image lacks") as caught:
        decode(write_parquet(TABLE))
    assert caught.value.status == 415


@pytest.mark.parametrize(
    ("table", "right", "wrong"),
    [
        (pa.table({"b": ["x", "yy", "zzz"]}), [0, 1, 3, 6], [0, 1, 3, 2**30]),
        (pa.table({"b": ["x", "yy", "zzz"]}), [0, 1, 3, 6], [0, -5, 3, 6]),
        (pa.table({"b": pa.array([*"pqpq"]).dictionary_encode()}), [0, 1, 0, 1], [0, 1, 0, 7]),
        (pa.table({"b": pa.array([*"pqpq"]).dictionary_encode()}), [0, 1, 0, 1], [0, -1, 0, 1]),
    ],
)
def test_offset_or_index_that_leads_out_of_its_array_is_refused(
    table: Any, right: list[int], wrong: list[int]
) -> None:
    """SEC-6: pyarrow would read the memory of the process there."""
    body = write_arrow(table)
    before, after = body.split(struct.pack("<4i", *right))
    assert decode(body).columns[0].tolist() == table["b"].to_pylist()
    with pytest.raises(RequestError, match="the body is not application/vnd") as caught:
        decode(before + struct.pack("<4i", *wrong) + after)
    assert caught.value.status == 400
