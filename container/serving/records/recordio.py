"""SageMaker's RecordIO-protobuf: dense tensors from `application/x-recordio-protobuf` bodies.

The data of each RecordIO record is a protobuf message `Record` whose map `features` holds the
tensor under `values`. Only these fields are read:

    Record.features = 1 {key = 1, value = 2}
    Value.float32_tensor = 2, .float64_tensor = 3, .int32_tensor = 7
    tensor.values = 1 (packed or not), .keys = 2 (sparse)

Rules of this file: pure; every fault is a ValueError.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from container.record_framing import read_fields, read_integers, read_recordio

_TENSORS: Final[dict[int, np.dtype[Any]]] = {
    2: np.dtype("<f4"),
    3: np.dtype("<f8"),
    7: np.dtype("<i4"),
}

# A negative integer takes ten bytes. Each list of a record's values, parsed by Python, takes up to
# twenty times its bytes (SEC-6).
_VALUE_BYTES: Final = 10
_OTHER_BYTES: Final = 65_536


def decode(body: bytes, value_count: int) -> Iterator[NDArray[Any]]:
    """Yield the `values` tensor of each record, flat.

    Raises: ValueError if the body is not of this format, a tensor is sparse, or a record is longer
    than one of `value_count` values.
    """
    bytes_maximum = _OTHER_BYTES + _VALUE_BYTES * value_count
    for number, (flag, record) in enumerate(read_recordio(io.BytesIO(body)), start=1):
        if flag:
            raise ValueError("a record is split over several frames, which is not supported")
        if len(record) > bytes_maximum:
            message = f"record {number} is {len(record)} bytes long; {value_count} values take less"
            raise ValueError(message)
        yield _parse_value(_find_values(record))


def _find_values(record: bytes) -> Any:
    for entry in read_fields(record, 1):
        if b"values" in read_fields(entry, 1):
            return (read_fields(entry, 2) or [b""])[-1]
    raise ValueError("a record has no feature named 'values'")


def _parse_value(value: Any) -> NDArray[Any]:
    for number, dtype in _TENSORS.items():
        for tensor in read_fields(value, number):
            if read_fields(tensor, 2):
                raise ValueError("a record holds a sparse tensor; dense ones are expected")
            if dtype.kind == "i":
                return _parse_integers(tensor)
            packed = [content for content in read_fields(tensor, 1) if isinstance(content, bytes)]
            return np.frombuffer(b"".join(packed), dtype)
    raise ValueError("the feature 'values' is not a float32, float64 or int32 tensor")


def _parse_integers(tensor: bytes) -> NDArray[np.int64]:
    """Parse packed integers as an array, which is a hundred times as fast as one by one."""
    fields = read_fields(tensor, 1)
    if len(fields) != 1 or not isinstance(fields[0], bytes):
        return np.array(read_integers(tensor, 1), np.int64)
    data = np.frombuffer(fields[0], np.uint8)
    ends = np.flatnonzero(data < 128)
    if len(data) and (not len(ends) or ends[-1] != len(data) - 1):
        raise ValueError("a protobuf message is cut off")
    lengths = np.diff(ends, prepend=-1)
    if len(lengths) == 0:
        return np.empty(0, np.int64)
    if lengths.max() > _VALUE_BYTES:
        raise ValueError("a protobuf message holds a number of more than ten bytes")
    starts = ends - lengths + 1
    shifts = 7 * (np.arange(len(data)) - np.repeat(starts, lengths)).astype(np.uint64)
    bits = (data & 127).astype(np.uint64) << shifts
    return np.bitwise_or.reduceat(bits, starts).view(np.int64)
