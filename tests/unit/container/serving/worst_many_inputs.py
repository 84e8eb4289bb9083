"""Bodies of many small records, parts and pictures, and tables that expand."""

from __future__ import annotations

import base64
import io
import itertools
import json
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from container.serving.bodies import decoding, negotiation
from container.serving.bodies.content_encoding import Expansion
from container.serving.records import columnar
from container.serving.third_party import bounds, csv_bodies, predict_requests
from container.serving.third_party.tables import Table
from container.serving.user_code import default_input
from tests.unit.container.serving.worst_bodies import (
    EMOJI,
    ROW,
    Decode,
    Make,
    field,
    fill,
    filling,
    frame,
    make_chunk,
    make_jpeg_of_scans,
    make_picture,
    make_record,
    part,
    save,
)
from tests.unit.container.serving.worst_image_inputs import CLOSE, bundled
from tests.unit.container.serving.worst_user_inputs import for_user_code, make_names

PIXEL = (1, 1, 1)


def taking(content_type: str, **facts: Any) -> Decode:
    """Decode for a handler without `input_fn`."""
    return for_user_code(
        lambda body: default_input.decode(body, content_type, default_input.Taker(**facts)),
        is_text=False,
    )


def resizing(content_type: str) -> Decode:
    media_type = negotiation.parse_media_type(content_type)
    return lambda body, payload_bytes: decoding.decode(
        media_type, body, (28, 28, 1), Expansion(payload_bytes), "stretch"
    )


def in_parts(content: bytes, media_type: str) -> Make:
    return filling(part(content, media_type), b"", CLOSE)


def in_most_parts(content: bytes, media_type: str) -> Make:
    """Make as many parts as a body may have."""
    return lambda size: in_parts(content, media_type)(
        min(size, 9_990 * (len(part(content, media_type))))
    )


def in_base64(content: bytes) -> Make:
    text = base64.b64encode(content)
    return lambda size: fill(size, b'{"b64":"' + text + b'"},', b"[", b'{"b64":"' + text + b'"}]')


def png_of(chunks: int, pad: int = 0) -> bytes:
    plain = make_picture("PNG")
    return (
        plain[:33]
        + make_chunk(b"prVt", b"") * chunks
        + make_chunk(b"prVt", bytes(pad))
        + plain[33:]
    )


def jpeg_of(segments: int, pad: int = 0) -> bytes:
    plain = make_picture("JPEG")
    return plain[:2] + b"\xff\xe1\0\2" * segments + plain[2:] + bytes(pad) + b"\xff\xd9"


def distinct_records(size: int) -> bytes:
    """Make records no two of which have the same layout."""
    records = []
    total = 0
    for number in itertools.count():
        tensor = field(7, field(1, bytes(1)))
        content = field(1, field(1, b"values") + field(2, tensor)) + field(3, b"%d" % number)
        records.append(content)
        total += len(content) + 12
        if total >= size:
            break
    return b"".join(map(frame, records))


def parquet(table: Any, **options: Any) -> bytes:
    stream = io.BytesIO()
    pq.write_table(table, stream, **options)
    return stream.getvalue()


def arrow(batches: list[Any]) -> bytes:
    stream = io.BytesIO()
    with pa.ipc.new_stream(stream, batches[0].schema) as writer:
        for batch in batches:
            writer.write_batch(batch)
    return stream.getvalue()


def parquet_case(read: Any = columnar.decode_parquet) -> Decode:
    return lambda body, payload_bytes: read(body, Expansion(payload_bytes).take).to_array()


def import_pyarrow() -> None:
    """Import what is imported with the first body."""
    PARQUET(parquet(pa.table({"a": ["x"]})), 2**20)


PARQUET = parquet_case()
ARROW = parquet_case(columnar.decode_arrow)
THIRD_JSON = for_user_code(predict_requests.decode)
NAMED = Table(3, ["a", "b", "c"])
NAMED_CSV = for_user_code(
    lambda body: csv_bodies.decode(bounds.decode_text(body, {}), NAMED), is_text=False
)


def names(count: int) -> str:
    return ",".join(f'"{number}"' for number in range(count))


def make_records_of_keys(size: int) -> bytes:
    count = size // 60
    one = {f"{number}": 0 for number in range(count)}
    other = {f"x{number}": 0 for number in range(count)}
    return json.dumps({"instances": [one, other]}).encode()


def digits(count: int) -> bytes:
    return b"9" * count


LARGE_SCANS = make_jpeg_of_scans(25_000, 1024)


CASES: dict[str, tuple[Decode, Make]] = {
    "CSV of one pixel a row, all": (bundled("text/csv", PIXEL), filling(b"00\n")),
    "CSV of one pixel a row, one bad": (
        bundled("text/csv", PIXEL, lines=True),
        filling(b"1\n", b"", b"x"),
    ),
    "CSV of odd fractions": (
        bundled("text/csv"),
        filling(b",".join([b".123456789012345678"] * 784) + b"\n"),
    ),
    "CSV of odd exponents": (bundled("text/csv"), filling(b",".join([b"+1e0"] * 784) + b"\n")),
    "CSV of quoted cells": (bundled("text/csv"), filling(b",".join([b'"1"'] * 784) + b"\n")),
    "CSV of spaced cells": (bundled("text/csv"), filling(b",".join([b" 1"] * 784) + b"\n")),
    "CSV of long cells": (
        bundled("text/csv"),
        filling(b",".join([b"0." + b"0" * 1000] * 784) + b"\n"),
    ),
    "JSON of odd pixels": (bundled("application/json", PIXEL), filling(b"[-0],", b"[", b"[0]]")),
    "JSON of odd pixels, deep": (
        bundled("application/json", PIXEL),
        filling(b"[[[-0]]],", b"[", b"[[[0]]]]"),
    ),
    "JSON of odd images, three channels": (
        bundled("application/json", (8, 8, 3)),
        filling(
            b"[" + b",".join([b"[" + b",".join([b"[0,0,-0]"] * 8) + b"]"] * 8) + b"],",
            b"[",
            b"[0]]",
        ),
    ),
    "JSON of odd spaced": (
        bundled("application/json", PIXEL),
        filling(b"[ -0 ] , ", b"[", b"[0]]"),
    ),
    "JSON of long integers": (
        bundled("application/json"),
        filling(digits(4000) + b",", b"[[", b"0]]"),
    ),
    "JSON lines of one pixel, all": (bundled("application/jsonlines", PIXEL), filling(b"[1]\n")),
    "JSON lines of one odd pixel": (bundled("application/jsonlines", PIXEL), filling(b"[-0]\n")),
    "RecordIO of one pixel, all": (
        bundled("application/x-recordio-protobuf", PIXEL),
        filling(make_record(7, field(1, bytes(1)))),
    ),
    "RecordIO of distinct records": (
        bundled("application/x-recordio-protobuf", PIXEL),
        distinct_records,
    ),
    "RecordIO of unpacked images": (
        bundled("application/x-recordio-protobuf"),
        filling(make_record(7, b"\x08\1" * 784)),
    ),
    "RecordIO of unpacked big images": (
        bundled("application/x-recordio-protobuf", (512, 512, 1)),
        filling(make_record(7, b"\x08\1" * (512 * 512))),
    ),
    "libsvm of one pixel": (bundled("text/libsvm", PIXEL), filling(b"1:1\n")),
    "CSV of odd rows below a header": (
        bundled("text/csv; header=present"),
        filling(b"00," + ROW[2:] + b"\n", b"a\n"),
    ),
    "CSV of rare spaces": (bundled("text/csv"), filling("\u00a0".encode() + ROW + b"\n")),
    "CSV of full bad lines": (bundled("text/csv", lines=True), filling(ROW[:-1] + b"256\n")),
    "JSON lines of full bad lines": (
        bundled("application/jsonlines", lines=True),
        filling(b"[" + ROW[:-1] + b'"x"]\n'),
    ),
    "libsvm of full odd rows": (
        bundled("text/libsvm"),
        filling(b" ".join(b"%d:.5" % number for number in range(1, 785)) + b"\n"),
    ),
    "libsvm of full rows": (
        bundled("text/libsvm"),
        filling(b" ".join(b"%d:1" % number for number in range(1, 785)) + b"\n"),
    ),
    "multipart of one pixel": (
        bundled("multipart/form-data; boundary=b", PIXEL),
        in_most_parts(make_picture("PNG", 1), "image/png"),
    ),
    "multipart of CSV of one pixel": (
        bundled("multipart/form-data; boundary=b", PIXEL),
        in_most_parts(b"1", "text/csv"),
    ),
    "multipart of small npy": (
        bundled("multipart/form-data; boundary=b", PIXEL),
        in_most_parts(save(np.save, np.zeros((1, 1), np.uint8)), "application/x-npy"),
    ),
    "multipart of small npz": (
        bundled("multipart/form-data; boundary=b", PIXEL),
        in_most_parts(save(np.savez, a=np.zeros((1, 1), np.uint8)), "application/x-npz"),
    ),
    "multipart of PNGs of many chunks": (
        bundled("multipart/form-data; boundary=b"),
        in_most_parts(png_of(9_900), "image/png"),
    ),
    "multipart of PNGs of chunks": (
        bundled("multipart/form-data; boundary=b"),
        in_most_parts(png_of(200), "image/png"),
    ),
    "multipart of JPEGs of many segments": (
        bundled("multipart/form-data; boundary=b"),
        in_most_parts(jpeg_of(9_900), "image/jpeg"),
    ),
    "multipart of JPEGs of scans": (
        bundled("multipart/form-data; boundary=b"),
        in_most_parts(make_jpeg_of_scans(800), "image/jpeg"),
    ),
    "multipart of JPEGs of scans, larger": (
        bundled("multipart/form-data; boundary=b", (256, 256, 1)),
        in_most_parts(make_jpeg_of_scans(3_000, 256), "image/jpeg"),
    ),
    "multipart of JPEGs of scans, large": (
        bundled("multipart/form-data; boundary=b", (1024, 1024, 1)),
        in_most_parts(LARGE_SCANS, "image/jpeg"),
    ),
    "multipart of BMPs": (
        bundled("multipart/form-data; boundary=b"),
        in_most_parts(make_picture("BMP"), "image/bmp"),
    ),
    "multipart of pictures that are resized": (
        resizing("multipart/form-data; boundary=b"),
        in_most_parts(make_picture("PNG", 5000), "image/png"),
    ),
    "picture that is resized": (resizing("image/png"), lambda _: make_picture("PNG", 5000)),
    "JSON of pictures that are resized": (
        resizing("application/json"),
        in_base64(make_picture("PNG", 5000)),
    ),
    "JSON of a picture beside names": (
        bundled("application/json"),
        lambda _: (
            make_names(1_000_000)[:-1]
            + b',"instances":['
            + in_base64(make_picture("PNG"))(0)[1:]
            + b"}"
        ),
    ),
    "JSON of pictures of one pixel": (
        bundled("application/json", PIXEL),
        in_base64(make_picture("PNG", 1)),
    ),
    "JSON of PNGs of chunks": (bundled("application/json"), in_base64(png_of(9_900))),
    "JSON of 9,999 PNGs of chunks": (bundled("application/json"), in_base64(png_of(120))),
    "JSON lines of pictures of one pixel": (
        bundled("application/jsonlines", PIXEL),
        filling(b'{"b64":"' + base64.b64encode(make_picture("PNG", 1)) + b'"}\n'),
    ),
    "JSON lines of pictures, one bad": (
        bundled("application/jsonlines", PIXEL, lines=True),
        filling(b'{"b64":"' + base64.b64encode(make_picture("PNG", 1)) + b'"}\n', b"x\n"),
    ),
    "Parquet of a constant": (PARQUET, lambda size: parquet(pa.table({"a": np.zeros(size // 20)}))),
    "Parquet of far more": (PARQUET, lambda size: parquet(pa.table({"a": np.zeros(2 * size)}))),
    "Parquet of texts": (PARQUET, lambda size: parquet(pa.table({"a": ["a" * 50] * (size // 90)}))),
    "Parquet of different texts": (
        PARQUET,
        lambda size: parquet(pa.table({"a": [f"{n}" for n in range(size // 90)]})),
    ),
    "Parquet of long texts": (
        PARQUET,
        lambda size: parquet(pa.table({"a": ["a" * (size // 90 + n) for n in range(50)]})),
    ),
    "Parquet of times": (
        PARQUET,
        lambda size: parquet(pa.table({"a": np.zeros(size // 20, "M8[ns]")})),
    ),
    "Parquet of nulls": (PARQUET, lambda size: parquet(pa.table({"a": pa.nulls(size // 20)}))),
    "Parquet of columns": (
        PARQUET,
        lambda size: parquet(
            pa.table({f"c{n}": np.zeros(max(1, size // 200_000)) for n in range(9_999)})
        ),
    ),
    "Parquet of row groups": (
        PARQUET,
        lambda size: parquet(pa.table({"a": np.zeros(size // 200)}), row_group_size=1),
    ),
    "Arrow of batches": (
        ARROW,
        lambda size: arrow([pa.record_batch({"a": np.zeros(1)})] * (size // 200)),
    ),
    "Arrow of times": (
        ARROW,
        lambda size: arrow([pa.record_batch({"a": np.zeros(size // 20, "M8[ns]")})]),
    ),
    "Arrow of texts": (ARROW, lambda size: arrow([pa.record_batch({"a": ["a"] * (size // 90)})])),
    "Arrow of nulls": (ARROW, lambda size: arrow([pa.record_batch({"a": pa.nulls(size // 20)})])),
    "Arrow of columns": (
        ARROW,
        lambda size: arrow(
            [pa.record_batch({f"c{n}": np.zeros(1) for n in range(9_999)})]
            * max(1, size // 2_000_000)
        ),
    ),
    "user code: libsvm of one row": (taking("text/libsvm"), filling(b"1:1 ")),
    "user code: libsvm of a high index": (taking("text/libsvm"), lambda _: b"9999999:1"),
    "user code: libsvm of full rows": (
        taking("text/libsvm"),
        lambda size: fill(
            size // 3, b" ".join(b"%d:1" % number for number in range(1, 785)) + b"\n"
        ),
    ),
    "user code: multipart of pixels": (
        taking("multipart/form-data; boundary=b"),
        in_most_parts(make_picture("PNG", 1), "image/png"),
    ),
    "user code: multipart of CSV": (
        taking("multipart/form-data; boundary=b"),
        in_most_parts(b"1,2", "text/csv"),
    ),
    "user code: multipart of npy": (
        taking("multipart/form-data; boundary=b"),
        in_most_parts(save(np.save, np.zeros(1, np.uint8)), "application/x-npy"),
    ),
    "user code: JSON of pictures of one pixel": (
        taking("application/json"),
        in_base64(make_picture("PNG", 1)),
    ),
    "user code: picture": (taking("image/png"), lambda _: make_picture("PNG", 5000)),
    "user code: JSON lines, fewer": (
        taking("application/jsonlines"),
        lambda size: fill(size // 28, b"1\n"),
    ),
    "user code: JSON lines, b64": (
        taking("application/jsonlines"),
        lambda size: fill(size // 9, b'{"b64":""}\n'),
    ),
    "user code: JSON of keys": (
        for_user_code(
            lambda body: default_input.decode(body, "application/json", default_input.Taker())
        ),
        lambda size: ("{" + ",".join(f'"{n}":0' for n in range(size // 65)) + "}").encode(),
    ),
    "user code: JSON of long integers": (
        taking("application/json"),
        filling(digits(4000) + b",", b"[", b"0]"),
    ),
    "user code: CSV of long integers": (taking("text/csv"), filling(digits(4000) + b"\n", b"a\n")),
    "user code: CSV of long cells": (taking("text/csv"), filling(b"a" * 100_000 + b",b\n")),
    "user code: CSV of quotes": (taking("text/csv"), filling(b'""', b'"', b'"')),
    "user code: CSV of fractions": (taking("text/csv"), filling(b".123456789012345678\n")),
    "user code: CSV of fractions, CR": (taking("text/csv"), filling(b".123456789012345678\r\n")),
    "third party: CSV of fractions, CR": (
        for_user_code(
            lambda body: csv_bodies.decode(bounds.decode_text(body, {}), Table(1, [])),
            is_text=False,
        ),
        filling(b".123456789012345678\r\n"),
    ),
    "user code: CSV of an emoji": (taking("text/csv"), filling(b"aaaaaaa\n", EMOJI)),
    "user code: JSON of an emoji": (
        taking("application/json"),
        filling(b"a", b'["' + EMOJI, b'"]'),
    ),
    "user code: JSON lines of an emoji": (
        taking("application/jsonlines"),
        filling(b"a", b'["' + EMOJI, b'"]\n'),
    ),
    "user code: CSV of almost numbers": (
        taking("text/csv"),
        lambda size: fill(size // 30, b"1.5,2.5\n", b"a,b\n", b"x,x"),
    ),
    "user code: CSV of one column almost numbers": (
        taking("text/csv"),
        lambda size: fill(size // 20, b"1.5\n", b"", b"x"),
    ),
    "third party: names of a split": (
        THIRD_JSON,
        lambda size: (
            '{"dataframe_split":{"columns":[' + names(size // 150) + '],"data":[[]]}}'
        ).encode(),
    ),
    "third party: names of CSV": (
        NAMED_CSV,
        lambda size: (",".join(f"a{n}" for n in range(size // 150)) + "\na,b,c\n").encode(),
    ),
    "third party: records of other names": (THIRD_JSON, make_records_of_keys),
    "third party: records": (
        THIRD_JSON,
        lambda size: fill(size // 20, b'{"a":0},', b'{"dataframe_records":[', b'{"a":0}]}'),
    ),
    "third party: split": (
        THIRD_JSON,
        lambda size: fill(
            size // 20, b"[0],", b'{"dataframe_split":{"columns":["a"],"data":[', b"[0]]}}"
        ),
    ),
    "third party: an emoji": (NAMED_CSV, filling(b"aaaaaaa\n", EMOJI)),
}
