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
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from container.record_framing import read_fields, read_integers, read_recordio

_TENSORS: Final[dict[int, np.dtype[Any]]] = {
    2: np.dtype("<f4"),
    3: np.dtype("<f8"),
    7: np.dtype("<i4"),
}


def decode(body: bytes) -> list[NDArray[Any]]:
    """Return the `values` tensor of each record, flat.

    Raises: ValueError if the body is not of this format, or a tensor is sparse.
    """
    tensors = []
    for flag, record in read_recordio(io.BytesIO(body)):
        if flag:
            raise ValueError("a record is split over several frames, which is not supported")
        tensors.append(_parse_value(_find_values(record)))
    return tensors


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
                return np.array(read_integers(tensor, 1), np.int64)
            packed = [content for content in read_fields(tensor, 1) if isinstance(content, bytes)]
            return np.frombuffer(b"".join(packed), dtype)
    raise ValueError("the feature 'values' is not a float32, float64 or int32 tensor")
