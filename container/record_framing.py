"""The framing that training and serving both read: RecordIO records and protocol buffer fields.

A RecordIO record (IN-6) is a u32 magic, a u32 of 3 bits flag and 29 bits length, the data, and
padding to 4 bytes, all little-endian. The flag is 0 for a record in one piece; the pieces of a
longer one have 1, 2 and 3 for the first, a middle and the last.

Rules of this file: standard library only; every fault of the data is a ValueError.
"""

from collections.abc import Iterator
from typing import Any, BinaryIO, Final

RECORDIO_MAGIC: Final = b"\x0a\x23\xd7\xce"
_VARINT, _FIXED_64, _BYTES, _FIXED_32 = 0, 1, 2, 5
_FIXED_BYTES: Final = {_FIXED_64: 8, _FIXED_32: 4}
_MAXIMUM: Final = (1 << 64) - 1


def read_recordio(stream: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Yield flag and data of each RecordIO record.

    Raises: ValueError if the stream is not RecordIO or ends within a record, naming the byte.
    """
    position = 0
    while head := stream.read(8):
        if len(head) == 8 and head[:4] != RECORDIO_MAGIC:
            raise ValueError(f"no RecordIO record begins at byte {position}")
        word = int.from_bytes(head[4:], "little")
        size = word & (1 << 29) - 1
        data = stream.read(size)
        if len(head) < 8 or len(data) < size:
            raise ValueError(f"it ends within the RecordIO record at byte {position}")
        padding = -size % 4
        stream.read(padding)
        position += 8 + size + padding
        yield word >> 29, data


def read_fields(message: Any, wanted: int, fields_maximum: int | None = None) -> list[Any]:
    """Return the values of one field of a protocol buffer: an int for a varint, otherwise bytes.

    They are parts of `message` without a copy if that is a memory view.

    Raises: ValueError if `message` is not a protocol buffer, is an int where one is expected, or
    has more fields than `fields_maximum`.
    """
    if isinstance(message, int):
        raise ValueError("a number was found, not a protobuf message")  # noqa: TRY004 - wrong data
    values: list[Any] = []
    position = 0
    room = len(message) if fields_maximum is None else fields_maximum
    while position < len(message):
        room -= 1
        if room < 0:
            raise ValueError(f"a protobuf message has more than {fields_maximum} fields")
        tag, position = _read_varint(message, position)
        wire = tag & 7
        if wire == _VARINT:
            value, position = _read_varint(message, position)
            if tag >> 3 == wanted:
                values.append(value)
            continue
        if wire == _BYTES:
            size, position = _read_varint(message, position)
        elif wire in _FIXED_BYTES:
            size = _FIXED_BYTES[wire]
        else:
            raise ValueError("this is not a protobuf message")
        end = position + size
        if end > len(message):
            raise ValueError("a protobuf message is cut off")
        if tag >> 3 == wanted:
            values.append(message[position:end])
        position = end
    return values


def read_integers(message: Any, wanted: int) -> list[int]:
    """Return the signed integers of one repeated field, packed or not.

    Raises: ValueError as `read_fields` does.
    """
    unsigned = []
    for content in read_fields(message, wanted):
        if isinstance(content, int):
            unsigned.append(content)
            continue
        position = 0
        while position < len(content):
            value, position = _read_varint(content, position)
            unsigned.append(value)
    return [value - (1 << 64) if value >> 63 else value for value in unsigned]


def _read_varint(message: bytes, position: int) -> tuple[int, int]:
    try:
        value = message[position]
        if value < 128:
            return value, position + 1
        value &= 127
        for shift in range(7, 70, 7):
            position += 1
            byte = message[position]
            value |= (byte & 127) << shift
            if byte < 128:
                return value & _MAXIMUM, position + 1
    except IndexError:
        raise ValueError("a protobuf message is cut off") from None
    raise ValueError("a protobuf message holds a number of more than ten bytes")
