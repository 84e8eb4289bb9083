"""SageMaker's RecordIO-protobuf: dense tensors from `application/x-recordio-protobuf` bodies.

The data of each RecordIO record is a protobuf message `Record` whose map `features` holds the
tensor under `values`. Only these fields are read:

    Record.features = 1 {key = 1, value = 2}
    Value.float32_tensor = 2, .float64_tensor = 3, .int32_tensor = 7
    tensor.values = 1 (packed or not), .keys = 2 (sparse)

Rules of this file: pure; every fault is a ValueError, or a RequestError that names the record.
The values of many records are parsed at once, and what Python would parse one by one is refused
beyond a few (SEC-6).
"""

import io
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from container.errors import RequestError
from container.record_framing import read_fields, read_recordio
from container.serving.records import counts

_TENSORS: Final[dict[int, np.dtype[Any]]] = {
    2: np.dtype("<f4"),
    3: np.dtype("<f8"),
    7: np.dtype("<i4"),
}
_UNPACKED_TAGS: Final = {"<f4": 0x0D, "<f8": 0x09}
_UNPACKED_INTEGER_TAG: Final = 0x08

_VALUE_BYTES: Final = 10  # of a negative integer
_OTHER_BYTES: Final = 65_536
_FIELDS_MAXIMUM: Final = 16
_BLOCK_BYTES: Final = 262_144
_RECORD_BYTES: Final = 64  # of bytes objects


def decode(body: bytes, value_count: int) -> Iterator[NDArray[Any]]:
    """Yield the `values` tensors of some records at a time, `[record, value_count]`.

    Raises: ValueError if the body is not of this format, or a tensor is sparse; RequestError 400 if
    a record has another number of values, 413 for too many records.
    """
    bytes_maximum = _OTHER_BYTES + _VALUE_BYTES * value_count
    block: list[bytes] = []
    block_bytes = 0
    block_type = np.dtype("V")
    first = 1
    for number, (flag, record) in enumerate(read_recordio(io.BytesIO(body)), start=1):
        counts.check_records(number, len(body), "records")
        if flag:
            raise ValueError("a record is split over several frames, which is not supported")
        if len(record) > bytes_maximum:
            message = f"record {number} is {len(record)} bytes long; {value_count} values take less"
            raise ValueError(message)
        dtype, values = _find_tensor(record)
        if block and (dtype != block_type or block_bytes > _BLOCK_BYTES):
            yield _parse(block, block_type, value_count, first)
            first += len(block)
            block, block_bytes = [], 0
        block_type = dtype
        block.append(values)
        block_bytes += len(values) + _RECORD_BYTES
    if block:
        yield _parse(block, block_type, value_count, first)


def _find_tensor(record: bytes) -> tuple[np.dtype[Any], bytes]:
    """Return the type of the values of a record, and these as packed fields hold them."""
    value = _find_values(record)
    for number, dtype in _TENSORS.items():
        for tensor in read_fields(value, number, _FIELDS_MAXIMUM):
            return dtype, _pack(tensor, dtype)
    raise ValueError("the feature 'values' is not a float32, float64 or int32 tensor")


def _find_values(record: bytes) -> Any:
    for entry in read_fields(record, 1, _FIELDS_MAXIMUM):
        if b"values" in read_fields(entry, 1, _FIELDS_MAXIMUM):
            return (read_fields(entry, 2, _FIELDS_MAXIMUM) or [b""])[-1]
    raise ValueError("a record has no feature named 'values'")


def _pack(tensor: Any, dtype: np.dtype[Any]) -> bytes:
    """Return the packed values of a tensor, which may have them one by one."""
    if not isinstance(tensor, bytes):
        raise ValueError("a number was found, not a protobuf message")  # noqa: TRY004 - wrong data
    tag = _UNPACKED_TAGS.get(dtype.str, _UNPACKED_INTEGER_TAG)
    if tensor[:1] == bytes([tag]):
        return _unwrap_each(tensor, dtype, tag)
    if read_fields(tensor, 2, _FIELDS_MAXIMUM):
        raise ValueError("a record holds a sparse tensor; dense ones are expected")
    fields = read_fields(tensor, 1, _FIELDS_MAXIMUM)
    if len(fields) == 1 and isinstance(fields[0], bytes):
        return fields[0]
    if not all(isinstance(field, bytes) for field in fields):
        raise ValueError("a tensor has packed and other values")
    return b"".join(fields)


def _unwrap_each(tensor: bytes, dtype: np.dtype[Any], tag: int) -> bytes:
    """Return the values that each have a tag before them."""
    data = np.frombuffer(tensor, np.uint8)
    if dtype.kind == "f":
        width = 1 + dtype.itemsize
        if len(data) % width == 0:
            rows = data.reshape(-1, width)
            if (rows[:, 0] == tag).all():
                return rows[:, 1:].tobytes()
    else:
        ends = data < 128
        numbers: NDArray[Any] = np.cumsum(ends) - ends
        is_tag = numbers % 2 == 0
        if ends[-1] and numbers[-1] % 2 and (data[is_tag] == tag).all():
            return bytes(data[~is_tag].data)
    raise ValueError("a tensor has other fields beside values that are not packed")


def _parse(block: list[bytes], dtype: np.dtype[Any], value_count: int, first: int) -> NDArray[Any]:
    data = np.frombuffer(b"".join(block), np.uint8)
    lengths = np.fromiter(map(len, block), np.int64, len(block))
    if dtype.kind == "f":
        found = lengths // dtype.itemsize
        if (lengths % dtype.itemsize).any():
            raise ValueError("buffer size must be a multiple of element size")
        _check_counts(found, value_count, first)
        return data.view(dtype).reshape(-1, value_count)
    is_end = data < 128
    stops = np.cumsum(lengths)
    before = np.concatenate([[0], np.cumsum(is_end)])
    if not is_end[stops[lengths > 0] - 1].all():
        raise ValueError("a protobuf message is cut off")
    _check_counts(before[stops] - before[stops - lengths], value_count, first)
    return _parse_integers(data, is_end).reshape(-1, value_count)


def _check_counts(found: NDArray[Any], value_count: int, first: int) -> None:
    wrong = np.flatnonzero(found != value_count)
    if len(wrong):
        place = int(wrong[0])
        message = f"record {first + place} has {found[place]} values"
        raise RequestError(400, f"{message}; {value_count} pixels are expected")


def _parse_integers(data: NDArray[np.uint8], is_end: NDArray[np.bool_]) -> NDArray[Any]:
    """Parse packed integers, all of which are complete."""
    if is_end.all():
        return data
    ends = np.flatnonzero(is_end)
    lengths = np.diff(ends, prepend=-1)
    if lengths.max() > _VALUE_BYTES:
        raise ValueError("a protobuf message holds a number of more than ten bytes")
    starts = ends - lengths + 1
    shifts = 7 * (np.arange(len(data)) - np.repeat(starts, lengths)).astype(np.uint64)
    bits = (data & 127).astype(np.uint64) << shifts
    return np.bitwise_or.reduceat(bits, starts).view(np.int64)
