"""SageMaker's RecordIO-protobuf: dense tensors out of `application/x-recordio-protobuf` bodies.

A body is a sequence of frames (magic, length, payload padded to four bytes); a payload is a
protobuf message `Record` whose map `features` holds the tensor under `values`. Only these fields
are read:

    Record.features = 1 {key = 1, value = 2}; Value.float32_tensor = 2, .float64_tensor = 3,
    .int32_tensor = 7 tensor.values = 1 (packed or not), .keys = 2 (sparse), .shape = 3

Rules of this file: pure; every fault is a ValueError whose message tells what is wrong.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

_MAGIC: Final = 0xCED7230A
_LENGTH_BITS: Final = (
    1 << 29
) - 1  # the three bits above say whether a record goes on in the next frame
_VARINT, _FIXED_64, _BYTES, _FIXED_32 = 0, 1, 2, 5
_TENSORS: Final[dict[int, np.dtype[Any]]] = {
    2: np.dtype("<f4"),
    3: np.dtype("<f8"),
    7: np.dtype("<i4"),
}


def decode(body: bytes) -> list[NDArray[Any]]:
    """Give the `values` tensor of each record, flat."""
    return [_parse_record(payload) for payload in _split(body)]


def _split(body: bytes) -> Iterator[bytes]:
    position = 0
    while position < len(body):
        if len(body) < position + 8:
            raise ValueError("the last frame is cut off in its header")
        magic, length = struct.unpack_from("<II", body, position)
        if magic != _MAGIC:
            message = f"there is no RecordIO frame at byte {position}"
            raise ValueError(message)
        if length > _LENGTH_BITS:
            raise ValueError("a record is split over several frames, which is not supported")
        start, position = position + 8, position + 8 + (length + 3) // 4 * 4
        if len(body) < start + length:
            raise ValueError("the last frame is cut off")
        yield body[start : start + length]


def _parse_record(payload: bytes) -> NDArray[Any]:
    for number, _, entry in _read_fields(payload):
        if number != 1:
            continue
        pair = {number: content for number, _, content in _read_fields(entry)}
        if pair.get(1) == b"values":
            return _parse_value(pair.get(2, b""))
    raise ValueError("a record has no feature named 'values'")


def _parse_value(value: bytes) -> NDArray[Any]:
    for number, _, tensor in _read_fields(value):
        dtype = _TENSORS.get(number)
        if dtype is None:
            continue
        pieces = []
        for field, wire, content in _read_fields(tensor):
            if field == 2:
                raise ValueError("a record holds a sparse tensor; dense ones are expected")
            if field == 1 and dtype.kind == "i":
                pieces.append(
                    _parse_integers(content) if wire == _BYTES else np.array([content], np.uint64)
                )
            elif field == 1 and wire != _VARINT:
                pieces.append(np.frombuffer(content, dtype))
        return np.concatenate(pieces) if pieces else np.empty(0, dtype)
    raise ValueError("the feature 'values' is no float32, float64 or int32 tensor")


def _parse_integers(packed: bytes) -> NDArray[np.int64]:
    """Read packed varints, which is int32 in 64 bits: a negative one takes ten bytes."""
    values, position = [], 0
    while position < len(packed):
        value, position = _read_varint(packed, position)
        values.append(value - (1 << 64) if value >= 1 << 63 else value)
    return np.array(values, np.int64)


def _read_fields(message: Any) -> Iterator[tuple[int, int, Any]]:
    """Give number, wire type and content of each field: bytes, or an integer for a varint."""
    if not isinstance(message, bytes):
        raise ValueError("a record is no protobuf message")  # noqa: TRY004 - the fault of the data, not of the call
    position = 0
    while position < len(message):
        key, position = _read_varint(message, position)
        number, wire = key >> 3, key & 7
        if wire == _VARINT:
            content, position = _read_varint(message, position)
            yield number, wire, content
            continue
        if wire == _BYTES:
            length, position = _read_varint(message, position)
        elif wire in (_FIXED_32, _FIXED_64):
            length = 4 if wire == _FIXED_32 else 8
        else:
            raise ValueError("a record is no protobuf message")
        if position + length > len(message):
            raise ValueError("a record is cut off")
        yield number, wire, message[position : position + length]
        position += length


def _read_varint(message: bytes, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if position >= len(message):
            raise ValueError("a record is cut off")
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & ((1 << 64) - 1), position
    raise ValueError("a record holds a number of more than ten bytes")
