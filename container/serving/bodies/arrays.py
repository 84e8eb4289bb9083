"""Images from arrays in binary form: npy, npz and RecordIO-protobuf.

Rules of this file: pure; a header is checked against the body's size, and an archive's expansion is
bounded, before any memory is taken; nothing is ever unpickled (SEC-3).
"""

from __future__ import annotations

import ast
import functools
import io
import math
import zipfile
import zlib
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import numpy as np

from container.errors import RequestError
from container.serving.bodies import pixels, recordio
from container.serving.bodies.pixels import Images, Shape

_NPY_MAGIC: Final = b"\x93NUMPY"
_NPY_HEADER_BYTES_MAXIMUM: Final = 10_000
_EXPANSION_MAXIMUM: Final = 100  # digits with much background compress forty-fold
_DAMAGE: Final = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    OSError,
    RuntimeError,
    NotImplementedError,
    ValueError,
)


class _Header(NamedTuple):
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    order: Any
    """`C` or `F`"""


def decode_npy(body: bytes, shape: Shape, _: Mapping[str, str]) -> Images:
    """Decode one array.

    Raises: RequestError 400 if the body is not a complete npy file of numbers that are images.
    """
    if not body.startswith(_NPY_MAGIC):
        raise RequestError(400, "the body is not an npy file")
    width = 2 if body[6:7] == b"\x01" else 4
    end = 8 + width + int.from_bytes(body[8 : 8 + width], "little")
    if end > _NPY_HEADER_BYTES_MAXIMUM:
        allowed = f"{_NPY_HEADER_BYTES_MAXIMUM} are allowed"
        raise RequestError(400, f"the npy header is {end} bytes long; {allowed}")
    header = _parse_npy_header(body[:end])
    if header is None:
        raise RequestError(400, "the body is not a complete npy file of format 1, 2 or 3")
    dtype = header.dtype
    if dtype.hasobject:
        message = "the npy file holds pickled Python objects, which are never read"
        raise RequestError(400, f"{message}; a numeric array is expected")
    if dtype.kind not in "iuf":
        expected = "integers or floating-point numbers are expected"
        raise RequestError(400, f"the npy array is of type {dtype}; {expected}")
    promised = math.prod(header.shape) * dtype.itemsize
    found = len(body) - end
    if found != promised:
        message = f"the npy header declares {promised} bytes of data; {found} follow"
        raise RequestError(400, message)
    array = np.frombuffer(body, dtype, offset=end).reshape(header.shape, order=header.order)
    return pixels.from_array(array, shape)


@functools.lru_cache(maxsize=256)
def _parse_npy_header(header: bytes) -> _Header | None:
    """Read the header of an npy file; None if it is not one."""
    major = header[6:7]
    if major not in (b"\x01", b"\x02", b"\x03"):
        return None
    text = header[10 if major == b"\x01" else 12 :]
    try:
        fields = ast.literal_eval(text.decode("utf-8" if major == b"\x03" else "latin-1"))
        dtype = np.lib.format.descr_to_dtype(fields["descr"])
        shape = tuple(fields["shape"])
        order = "F" if fields["fortran_order"] else "C"
    except (ValueError, TypeError, KeyError, SyntaxError, MemoryError, RecursionError):
        return None
    if all(type(size) is int and size >= 0 for size in shape):
        return _Header(dtype, shape, order)
    return None


def decode_npz(body: bytes, shape: Shape, parameters: Mapping[str, str]) -> Images:
    """Decode an archive of one npy file.

    Raises: RequestError 400 if it is not one, 413 if it expands too far.
    """
    maximum = max(len(body) * _EXPANSION_MAXIMUM, 1 << 20)
    try:
        with zipfile.ZipFile(io.BytesIO(body)) as archive:
            members = archive.infolist()
            if len(members) != 1:
                quoted = [pixels.quote(member.filename) for member in members[:5]]
                names = ", ".join(quoted) or "nothing"
                raise RequestError(400, f"the npz file holds {names}; one array is expected")
            with archive.open(members[0]) as stream:
                content = stream.read(maximum + 1)
    except _DAMAGE:
        raise RequestError(400, "the body is not a complete npz file") from None
    if len(content) > maximum:
        message = f"the npz file expands to more than {_EXPANSION_MAXIMUM} times its size"
        raise RequestError(413, message)
    return decode_npy(content, shape, parameters)


def decode_recordio(body: bytes, shape: Shape, _: Mapping[str, str]) -> Images:
    """Decode records of one image each.

    Raises: RequestError 400 if the body is not RecordIO-protobuf, or a record is not an image.
    """
    try:
        records = recordio.decode(body)
    except ValueError as error:
        raise RequestError(400, f"the body is not RecordIO-protobuf: {error}") from None
    count = math.prod(shape)
    for number, record in enumerate(records, start=1):
        if record.size != count:
            message = f"record {number} has {record.size} values; {count} pixels are expected"
            raise RequestError(400, message)
    return pixels.scale(np.stack(records)).reshape(-1, *shape)
