"""Media types of several images or of packed ones; the oracles are zipfile, gzip, Pillow and Google's protobuf."""

import gzip
import io
import json
import struct
import zipfile
from typing import Any

import numpy as np
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from container.errors import RequestError
from container.serving import inference
from container.serving.bodies import decoding, encoding, negotiation

SHAPE = (2, 3, 1)
IMAGES = np.arange(24, dtype=np.uint8).reshape(4, *SHAPE)


def decode(content_type: str, body: bytes) -> Any:
    return decoding.decode(negotiation.parse_media_type(content_type), body, SHAPE)


def refusal(content_type: str, body: bytes, status: int = 400) -> str:
    with pytest.raises(RequestError) as caught:
        decode(content_type, body)
    assert caught.value.status == status
    return str(caught.value)


def save(function: Any, *arguments: Any, **options: Any) -> bytes:
    stream = io.BytesIO()
    function(stream, *arguments, **options)
    return stream.getvalue()


def make_record_class() -> Any:
    """Build the published schema of SageMaker's records: field numbers and types, by their names."""
    file = descriptor_pb2.FileDescriptorProto(name="record.proto", package="t", syntax="proto2")
    kinds = descriptor_pb2.FieldDescriptorProto
    for name, kind in (
        ("Float32Tensor", kinds.TYPE_FLOAT),
        ("Float64Tensor", kinds.TYPE_DOUBLE),
        ("Int32Tensor", 5),
    ):
        tensor = file.message_type.add(name=name)
        values = tensor.field.add(name="values", number=1, type=kind, label=3)
        values.options.packed = True
        tensor.field.add(name="keys", number=2, type=kinds.TYPE_UINT64, label=3)
        tensor.field.add(name="shape", number=3, type=kinds.TYPE_UINT64, label=3)
    value = file.message_type.add(name="Value")
    for name, number in (("float32", 2), ("float64", 3), ("int32", 7)):
        value.field.add(
            name=f"{name}_tensor",
            number=number,
            type=11,
            label=1,
            type_name=f".t.{name.capitalize()}Tensor",
        )
    record = file.message_type.add(name="Record")
    for name, number in (("features", 1), ("label", 2)):
        entry = record.nested_type.add(name=f"{name.capitalize()}Entry")
        entry.options.map_entry = True
        entry.field.add(name="key", number=1, type=9, label=1)
        entry.field.add(name="value", number=2, type=11, label=1, type_name=".t.Value")
        record.field.add(
            name=name,
            number=number,
            type=11,
            label=3,
            type_name=f".t.Record.{name.capitalize()}Entry",
        )
    record.field.add(name="uid", number=3, type=9, label=1)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("t.Record"))


RECORD = make_record_class()


def frame(payload: bytes) -> bytes:
    return struct.pack("<II", 0xCED7230A, len(payload)) + payload + bytes(-len(payload) % 4)


def to_records(rows: Any, kind: str) -> bytes:
    body = b""
    for row in rows:
        record = RECORD(uid="x" * 3)
        getattr(record.features["values"], f"{kind}_tensor").values.extend(row.ravel().tolist())
        record.label["values"].float32_tensor.values.append(3)
        body += frame(record.SerializeToString())
    return body


@pytest.mark.parametrize("kind", ["float32", "float64", "int32"])
def test_recordio_of_dense_tensors_decodes_to_its_images(kind: str) -> None:
    assert np.array_equal(
        decode("application/x-recordio-protobuf", to_records(IMAGES, kind)), IMAGES
    )


def make_sparse() -> bytes:
    record = RECORD()
    record.features["values"].float32_tensor.values.append(1)
    record.features["values"].float32_tensor.keys.append(1)
    return frame(record.SerializeToString())


@pytest.mark.parametrize(
    ("body", "part"),
    [
        (b"\0" * 8, "no RecordIO record begins at byte 0"),
        (to_records(IMAGES, "int32")[:-3], "ends within the RecordIO record at byte"),
        (to_records(IMAGES, "int32") + b"1", "ends within the RecordIO record at byte"),
        (to_records(IMAGES[:, :1], "int32"), "record 1 has 3 values; 6 pixels"),
        (frame(RECORD().SerializeToString()), "no feature named 'values'"),
        (make_sparse(), "sparse"),
        (struct.pack("<II", 0xCED7230A, 1 << 29), "split over several frames"),
        (frame(b"\x0a\xff\xff\xff\xff\x0f"), "cut off"),
        (frame(b"\xff" * 11), "more than ten bytes"),
        (frame(b"\x0b"), "not a protobuf message"),
        (to_records(IMAGES * 0 - 1.0, "float32"), "row 1, column 1 is -1"),
        (to_records(np.full((1, 2, 3, 1), -1), "int32"), "is -1"),
    ],
)
def test_recordio_fault_is_named(body: bytes, part: str) -> None:
    assert part in refusal("application/x-recordio-protobuf", body)


@given(st.binary(max_size=60))
def test_any_payload_is_a_record_or_a_request_error(payload: bytes) -> None:
    try:
        decode("application/x-recordio-protobuf", frame(payload))
    except RequestError as error:
        status = error.status
    else:
        status = 400
    assert status == 400


def test_json_lines_decode_to_their_images() -> None:
    flat = IMAGES.reshape(4, -1).tolist()
    lines = [
        json.dumps(flat[0]),
        json.dumps({"features": flat[1]}),
        json.dumps(IMAGES[2].tolist()),
        json.dumps(flat[3]),
    ]

    assert np.array_equal(decode("application/jsonlines", "\n".join(lines).encode()), IMAGES)
    assert np.array_equal(
        decode("application/jsonlines", ("\r\n".join(lines) + "\r\n").encode()), IMAGES
    )


@pytest.mark.parametrize(
    ("body", "part"),
    [
        (b"[1,2,3,4,5,6]\n[1,2]", "line 2"),
        (b"[1,2,3,4,5,6]\n\n[1,2,3,4,5,6]", "line 2"),
        (b'{"features": [1,2,3,4,5,256]}', "line 1: row 1, column 6 is 256"),
        (b'{"instances": [1,2,3,4,5,6]}', "line 1"),
        (b"[1,2,3,4,5,6],[1,2,3,4,5,6]", "line 1"),
        (b"\n", "line 1"),
    ],
)
def test_json_lines_fault_is_named_by_its_line(body: bytes, part: str) -> None:
    assert part in refusal("application/jsonlines", body)


def test_npz_of_one_array_decodes_to_its_images() -> None:
    assert np.array_equal(decode("application/x-npz", save(np.savez, IMAGES)), IMAGES)
    assert np.array_equal(
        decode("application/x-npz", save(np.savez_compressed, images=IMAGES)), IMAGES
    )


def make_bomb() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", bytes(20_000_000))
    return stream.getvalue()


def test_npz_fault_is_named() -> None:
    whole = save(np.savez, IMAGES)

    assert "not a complete npz file" in refusal("application/x-npz", b"PK")
    assert "not a complete npz file" in refusal("application/x-npz", whole[:-30])
    assert "'a.npy', 'b.npy'" in refusal("application/x-npz", save(np.savez, a=IMAGES, b=IMAGES))
    assert "pickled" in refusal("application/x-npz", save(np.savez, np.array([{}], dtype=object)))
    assert "expands to more than 100 times" in refusal("application/x-npz", make_bomb(), 413)


def test_bmp_decodes_exactly() -> None:
    body = save(Image.fromarray(IMAGES[1, :, :, 0]).save, format="BMP")

    assert np.array_equal(decode("image/bmp", body), IMAGES[1:2])
    assert "BMP" in refusal("image/bmp", body[:-4])
    assert "BMP" in refusal("image/bmp", b"BM")


def to_multipart(parts: list[tuple[str, bytes]]) -> bytes:
    body = b"a preamble that is skipped"
    for content_type, content in parts:
        head = f'Content-Disposition: form-data; name="a"; filename="b"\r\nContent-Type: {content_type}'
        body += b"\r\n--XX\r\n" + head.encode() + b"\r\n\r\n" + content
    return body + b"\r\n--XX--\r\n"


def test_multipart_decodes_its_parts_in_order() -> None:
    pictures = [
        ("image/png", save(Image.fromarray(image[:, :, 0]).save, format="PNG"))
        for image in IMAGES[:2]
    ]
    body = to_multipart([*pictures, ("application/x-npy", save(np.save, IMAGES[2:]))])

    assert np.array_equal(decode('multipart/form-data; boundary="XX"', body), IMAGES)


def test_multipart_fault_is_named_by_its_part() -> None:
    good = ("text/csv", b"1,2,3,4,5,6")

    assert "no boundary" in refusal("multipart/form-data", to_multipart([good]))
    assert "no part" in refusal("multipart/form-data; boundary=YY", to_multipart([good]))
    assert "closing boundary" in refusal(
        "multipart/form-data; boundary=XX", to_multipart([good])[:-6]
    )
    assert "part 2: row 1 has 2 columns" in refusal(
        "multipart/form-data; boundary=XX", to_multipart([good, ("text/csv", b"1,2")])
    )
    assert "part 1" in refusal(
        "multipart/form-data; boundary=XX", to_multipart([("text/html", b"")]), 415
    )
    nested = to_multipart([("multipart/form-data; boundary=XX", b"1")])
    assert "part 1" in refusal("multipart/form-data; boundary=XX", nested, 415)


def unpacking(body: bytes, encoding: str, maximum: int = 1000) -> tuple[int, str]:
    with pytest.raises(RequestError) as caught:
        inference.unpack(body, encoding, maximum)
    return caught.value.status, str(caught.value)


def test_gzip_body_is_unpacked_up_to_the_limit() -> None:
    assert inference.unpack(b"1,2", "", 1000) == b"1,2"
    assert inference.unpack(gzip.compress(b"1,2"), "GZIP", 1000) == b"1,2"
    assert inference.unpack(gzip.compress(b"1,") + gzip.compress(b"2"), "gzip", 1000) == b"1,2"
    assert inference.unpack(gzip.compress(bytes(1000)), "gzip", 1000) == bytes(1000)
    assert unpacking(gzip.compress(bytes(1001)), "gzip")[0] == 413
    assert unpacking(gzip.compress(bytes(10**8)), "gzip")[0] == 413
    assert unpacking(gzip.compress(b"1,2")[:-1], "gzip") == (400, "the gzip body is cut off")
    assert unpacking(b"1,2", "gzip")[0] == 400
    assert unpacking(b"1,2", "br")[0] == 415


def test_json_lines_answer_has_a_line_for_each_image() -> None:
    probabilities = np.array([[0.25, 0.75], [1, 0]], np.float32)

    body = encoding.encode("application/jsonlines", probabilities, ("a", "b"), end_of_line=False)

    assert [json.loads(line) for line in body.split(b"\n")] == [
        {"output": [0.25, 0.75], "prediction": {"label": "b", "index": 1, "score": 0.75}},
        {"output": [1, 0], "prediction": {"label": "a", "index": 0, "score": 1}},
    ]
