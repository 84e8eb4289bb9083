"""Record formats that the platform writes into pipes and splits batch inputs by: lines, RecordIO, TFRecord.

Rules of this file: pure functions of bytes. A split gives each record twice: `framed`, the bytes as
they lie in the object, and `payload`, what is left without framing and padding.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

from container.errors import UserError

RECORDIO_MAGIC: Final = 0xCED7230A  # IN-6
_LENGTH_BITS: Final = 29
_CASTAGNOLI: Final = 0x82F63B78  # the reversed polynomial of crc32c (BT-14)


class Record(NamedTuple):
    """One record of an object."""

    framed: bytes
    payload: bytes


def split(body: bytes, split_type: str) -> list[Record]:
    """Split an object's bytes by `None`, `Line`, `RecordIO` or `TFRecord`.

    Raises: UserError if the bytes are not of the format.
    """
    return list(
        {
            "None": _split_nothing,
            "Line": split_lines,
            "RecordIO": split_recordio,
            "TFRecord": split_tfrecord,
        }[split_type](body)
    )


def _split_nothing(body: bytes) -> Iterator[Record]:
    yield Record(body, body)


def split_lines(body: bytes) -> Iterator[Record]:
    """Split at line feeds alone, which stay with `framed`: quoted line ends are not understood (BT-5)."""
    start = 0
    while start < len(body):
        end = body.find(b"\n", start)
        stop = len(body) if end < 0 else end + 1
        yield Record(body[start:stop], body[start : stop if end < 0 else end])
        start = stop


def encode_recordio(payload: bytes) -> bytes:
    """Frame one record: magic, length, payload, padding to 4 bytes (IN-6)."""
    if len(payload) >> _LENGTH_BITS:
        message = (
            f"a RecordIO record holds less than {1 << _LENGTH_BITS} bytes; found {len(payload)}"
        )
        raise UserError(message)
    return struct.pack("<II", RECORDIO_MAGIC, len(payload)) + payload + bytes(-len(payload) % 4)


def split_recordio(body: bytes) -> Iterator[Record]:
    """Split RecordIO; a record of several parts is one record."""
    start, position, payload = 0, 0, b""
    while position < len(body):
        try:
            magic, word = struct.unpack_from("<II", body, position)
        except struct.error as error:
            message = f"the RecordIO file ends inside a record at byte {position}"
            raise UserError(message) from error
        flag, length = word >> _LENGTH_BITS, word & ((1 << _LENGTH_BITS) - 1)
        end = position + 8 + length
        if magic != RECORDIO_MAGIC or end > len(body):
            what = (
                f"{magic:#x} stands where the magic {RECORDIO_MAGIC:#x} is expected"
                if magic != RECORDIO_MAGIC
                else "cut"
            )
            message = f"not a whole RecordIO file: at byte {position}, {what}"
            raise UserError(message)
        # A payload that held the magic was cut there: the parts (flags 1, 2, 3) are joined by it
        # again.
        payload += (struct.pack("<I", RECORDIO_MAGIC) if flag in (2, 3) else b"") + body[
            position + 8 : end
        ]
        position = end + (-length % 4)
        if flag in (0, 3):
            yield Record(body[start:position], payload)
            start, payload = position, b""


def encode_tfrecord(payload: bytes) -> bytes:
    """Frame one record: length and its checksum, payload and its checksum (BT-14)."""
    length = struct.pack("<Q", len(payload))
    return (
        length
        + struct.pack("<I", _masked_crc(length))
        + payload
        + struct.pack("<I", _masked_crc(payload))
    )


def split_tfrecord(body: bytes) -> Iterator[Record]:
    """Split TFRecord; the checksum of every length is verified."""
    position = 0
    while position < len(body):
        head = body[position : position + 12]
        length = struct.unpack("<Q", head[:8])[0] if len(head) == 12 else 0
        end = position + 16 + length
        if (
            len(head) < 12
            or struct.unpack("<I", head[8:])[0] != _masked_crc(head[:8])
            or end > len(body)
        ):
            message = f"not a whole TFRecord file: no record begins at byte {position}"
            raise UserError(message)
        yield Record(body[position:end], body[position + 12 : end - 4])
        position = end


def _make_crc_table() -> list[int]:
    table = []
    for number in range(256):
        for _ in range(8):
            number = (number >> 1) ^ (_CASTAGNOLI if number & 1 else 0)  # noqa: PLW2901 - shifted bit by bit
        table.append(number)
    return table


_CRC_TABLE: Final = _make_crc_table()


def _masked_crc(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _CRC_TABLE[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    crc ^= 0xFFFFFFFF
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF
