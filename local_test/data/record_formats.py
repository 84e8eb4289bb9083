"""The record formats of pipes and batch inputs: lines, RecordIO and TFRecord."""

import json
import math
import struct
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

from container.errors import UserError

RECORDIO_MAGIC: Final = 0xCED7230A  # IN-6
_LENGTH_BITS: Final = 29
_CASTAGNOLI: Final = 0x82F63B78  # the reversed polynomial of crc32c (BT-14)


class Record(NamedTuple):
    """One record of an object."""

    framed: bytes
    """Its bytes in the object."""
    payload: bytes
    """The same without framing and padding."""


def unite(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object of JSON. Raises: ValueError if it has a name twice, which would be lost."""
    counts = Counter(name for name, _ in pairs)
    twice = sorted(name for name, count in counts.items() if count > 1)
    if twice:
        raise ValueError(f"an object has {', '.join(map(repr, twice))} twice")
    return dict(pairs)


def read_json(text: str | bytes) -> Any:
    """Read JSON by the letter, of which nothing is lost.

    Raises: ValueError if an object has a name twice, or a number is not one of JSON or too large
    for a double; RecursionError.
    """
    return json.loads(
        text, object_pairs_hook=unite, parse_constant=_read_float, parse_float=_read_float
    )


def _read_float(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:40]} is not a number of JSON, or too large")
    return number


def split(body: bytes, split_type: str) -> list[Record]:
    """Split an object by `None`, `Line`, `RecordIO` or `TFRecord`.

    Raises: UserError if the bytes do not have the format.
    """
    if split_type == "None":
        return [Record(body, body)]
    splitters = {"Line": split_lines, "RecordIO": split_recordio, "TFRecord": split_tfrecord}
    return list(splitters[split_type](body))


def split_lines(body: bytes) -> Iterator[Record]:
    """Split at every line feed, also a quoted one; `framed` includes it (BT-5)."""
    *lines, last = body.split(b"\n")
    for line in lines:
        yield Record(line + b"\n", line)
    if last:
        yield Record(last, last)


def encode_recordio(payload: bytes) -> bytes:
    """Frame one record: magic, length, payload, padding to 4 bytes (IN-6)."""
    limit = 1 << _LENGTH_BITS
    if len(payload) >= limit:
        raise UserError(f"a RecordIO record holds less than {limit} bytes; found {len(payload)}")
    return struct.pack("<II", RECORDIO_MAGIC, len(payload)) + payload + bytes(-len(payload) % 4)


def split_recordio(body: bytes) -> Iterator[Record]:
    """Split RecordIO; the parts of a record are joined."""
    start = 0
    position = 0
    payload = b""
    while position < len(body):
        flag, length = _read_recordio_head(body, position)
        if (flag in (0, 1)) != (start == position):
            raise UserError(f"the parts of a RecordIO record are out of order at byte {position}")
        end = position + 8 + length
        # A payload that holds the magic is split there into parts with flags 1, 2 and 3.
        if flag in (2, 3):
            payload += struct.pack("<I", RECORDIO_MAGIC)
        payload += body[position + 8 : end]
        position = end + (-length % 4)
        if flag in (0, 3):
            yield Record(body[start:position], payload)
            start = position
            payload = b""
    if start < position:
        raise UserError(f"incomplete RecordIO file: the record at byte {start} lacks its last part")


def _read_recordio_head(body: bytes, position: int) -> tuple[int, int]:
    """Return flag and length of the part at a position."""
    if position + 8 > len(body):
        raise UserError(f"incomplete RecordIO file: it ends inside the record at byte {position}")
    magic, word = struct.unpack_from("<II", body, position)
    length = word & ((1 << _LENGTH_BITS) - 1)
    if magic != RECORDIO_MAGIC:
        raise UserError(
            f"not a RecordIO file: found {magic:#x} at byte {position}, "
            f"where the magic number {RECORDIO_MAGIC:#x} has to be"
        )
    if position + 8 + length > len(body):
        raise UserError(f"incomplete RecordIO file: it ends inside the record at byte {position}")
    return word >> _LENGTH_BITS, length


def split_tfrecord(body: bytes) -> Iterator[Record]:
    """Split TFRecord, and verify the checksum of every length (BT-14)."""
    position = 0
    while position < len(body):
        end = _find_tfrecord_end(body, position)
        yield Record(body[position:end], body[position + 12 : end - 4])
        position = end


def _find_tfrecord_end(body: bytes, position: int) -> int:
    if position + 12 <= len(body):
        length, checksum = struct.unpack_from("<QI", body, position)
        end = position + 16 + int(length)
        if checksum == _masked_crc(body[position : position + 8]) and end <= len(body):
            return end
    raise UserError(f"not a complete TFRecord file: no record begins at byte {position}")


def _make_crc_table() -> list[int]:
    table = []
    for byte in range(256):
        remainder = byte
        for _ in range(8):
            remainder = (remainder >> 1) ^ (_CASTAGNOLI * (remainder & 1))
        table.append(remainder)
    return table


_CRC_TABLE: Final = _make_crc_table()


def _masked_crc(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _CRC_TABLE[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    crc ^= 0xFFFFFFFF
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF
