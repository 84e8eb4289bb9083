"""RecordIO-protobuf to images; the oracle is Google's protobuf."""

import struct
from typing import Any

import numpy as np
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from hypothesis import given
from hypothesis import strategies as st

from container.errors import RequestError
from tests.unit.container.serving.bodies.request_bodies import IMAGES, decode, refusal


def make_record_class() -> Any:
    """Build the published schema of SageMaker's records, field numbers and types."""
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
