"""Record formats: what is framed is what is split."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from container.errors import UserError
from local_test.data import record_formats
from tests.support import encode_tfrecord


@given(st.lists(st.binary(max_size=40), max_size=8))
def test_recordio_returns_what_was_framed(payloads: list[bytes]) -> None:
    body = b"".join(map(record_formats.encode_recordio, payloads))

    found = record_formats.split(body, "RecordIO")
    assert [record.payload for record in found] == payloads
    assert b"".join(record.framed for record in found) == body


@given(st.lists(st.binary(max_size=40), max_size=8))
def test_tfrecord_returns_what_was_framed(payloads: list[bytes]) -> None:
    body = b"".join(map(encode_tfrecord, payloads))

    assert [record.payload for record in record_formats.split(body, "TFRecord")] == payloads


def test_a_tfrecord_has_the_bytes_that_tensorflow_writes() -> None:
    # the file that its TFRecordWriter made of the one record b"hi"
    assert encode_tfrecord(b"hi").hex() == "020000000000000078270b34686913d60856"


def test_a_recordio_record_of_several_parts_is_one() -> None:
    magic = (0xCED7230A).to_bytes(4, "little")
    parts = [(1, b"ab"), (2, b"cd"), (3, b"e")]
    body = b"".join(
        magic + (flag << 29 | len(data)).to_bytes(4, "little") + data + bytes(-len(data) % 4)
        for flag, data in parts
    )

    assert [record.payload for record in record_formats.split(body, "RecordIO")] == [
        b"ab" + magic + b"cd" + magic + b"e"
    ]


@given(st.binary(max_size=60))
def test_lines_are_bytes_and_none_is_lost(body: bytes) -> None:
    found = record_formats.split(body, "Line")

    assert b"".join(record.framed for record in found) == body
    assert [record.payload for record in found] == body.split(b"\n")[: len(found)]


@pytest.mark.parametrize(
    ("split_type", "body"),
    [
        ("RecordIO", b"\x0a\x23\xd7\xce\x05\0\0\0ab"),
        ("RecordIO", b"\x0a\x23\xd7"),
        ("RecordIO", b"not RecordIO"),
        ("RecordIO", b"\x0a\x23\xd7\xce\x04\0\0\x20abcd"),  # the first of several parts
        ("RecordIO", b"\x0a\x23\xd7\xce\x04\0\0\x60abcd"),  # the last
        ("TFRecord", b"short"),
        ("TFRecord", b"not a record of TensorFlow"),
    ],
)
def test_a_truncated_or_foreign_file_is_refused(split_type: str, body: bytes) -> None:
    with pytest.raises(UserError, match="at byte 0"):
        record_formats.split(body, split_type)
