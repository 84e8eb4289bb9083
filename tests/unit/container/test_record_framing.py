"""RecordIO records and protobuf fields; the oracle is Google's protobuf."""

import io
import struct

import pytest
from google.protobuf import wrappers_pb2
from google.protobuf.descriptor_pb2 import FieldOptions, FileDescriptorProto, SourceCodeInfo
from hypothesis import given
from hypothesis import strategies as st

from container.record_framing import read_fields, read_integers, read_recordio

MAGIC = 0xCED7230A


def frame(data: bytes, flag: int = 0) -> bytes:
    return struct.pack("<II", MAGIC, flag << 29 | len(data)) + data + bytes(-len(data) % 4)


@given(st.lists(st.tuples(st.integers(0, 3), st.binary(max_size=20))))
def test_records_come_back_with_their_flags(records: list[tuple[int, bytes]]) -> None:
    stream = io.BytesIO(b"".join(frame(data, flag) for flag, data in records))

    assert list(read_recordio(stream)) == records


@pytest.mark.parametrize(
    ("stream", "message"),
    [
        (frame(b"abc") + b"else" * 2, "no RecordIO record begins at byte 12"),
        (frame(b"abc") + frame(b"abc")[:7], "ends within the RecordIO record at byte 12"),
        (frame(b"abcde")[:-4], "ends within the RecordIO record at byte 0"),
    ],
)
def test_damaged_stream_is_named_by_its_byte(stream: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        list(read_recordio(io.BytesIO(stream)))


@given(st.integers(-(1 << 63), (1 << 63) - 1), st.binary(max_size=300), st.floats(width=32))
def test_fields_of_every_wire_type_are_read(number: int, data: bytes, fraction: float) -> None:
    assert read_integers(wrappers_pb2.Int64Value(value=number).SerializeToString(), 1) == [
        number
    ] * (number != 0)
    assert read_fields(wrappers_pb2.BytesValue(value=data).SerializeToString(), 1) == [data] * bool(
        data
    )
    message = wrappers_pb2.FloatValue(value=fraction).SerializeToString()
    assert b"".join(read_fields(message, 1)) == message[1:]


@given(st.lists(st.integers(-(1 << 31), (1 << 31) - 1)))
def test_packed_and_single_integers_are_the_same(numbers: list[int]) -> None:
    packed = SourceCodeInfo.Location(path=numbers).SerializeToString()
    single = FileDescriptorProto(public_dependency=numbers).SerializeToString()

    assert read_integers(packed, 1) == numbers
    assert read_integers(single, 10) == numbers
    assert read_fields(FieldOptions(packed=True).SerializeToString(), 1) == []


@pytest.mark.parametrize(
    ("message", "fault"),
    [
        (b"\x0a\x05ab", "cut off"),
        (b"\x08\x80", "cut off"),
        (b"\x08" + b"\xff" * 10, "more than ten bytes"),
        (b"\x0b", "not a protobuf message"),
        (7, "a number was found"),
    ],
)
def test_what_is_not_a_message_is_a_fault(message: object, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        read_fields(message, 1)
