"""Images from arrays in binary form: npy, npz and RecordIO-protobuf.

Rules of this file: pure; a header is checked against the body's size, and an archive's expansion is
bounded, before any memory is taken; nothing is ever unpickled (SEC-3).
"""

import ast
import functools
import io
import math
import zipfile
import zlib
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from container.errors import RequestError
from container.serving.bodies import pixels
from container.serving.bodies.content_encoding import Expansion
from container.serving.bodies.pixels import Images, Shape
from container.serving.records import recordio

_NPY_MAGIC: Final = b"\x93NUMPY"
NPY_HEADER_BYTES_MAXIMUM: Final = 10_000
# bzip2 and lzma, which numpy never writes, expand a few hundred bytes to gigabytes at once.
_COMPRESSIONS: Final = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
_MEMBERS_MAXIMUM: Final = 64
_PIECE_BYTES: Final = 1 << 20
_DAMAGED: Final = "the body is not a complete npz file"
_CENTRAL_HEADER: Final = b"PK\x01\x02"
_DAMAGE: Final = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    OSError,
    RuntimeError,
    NotImplementedError,
    ValueError,
)
_HEADER_FAULTS: Final = (
    LookupError,
    MemoryError,
    OverflowError,
    RecursionError,
    SyntaxError,
    TypeError,
    ValueError,
)


class Header(NamedTuple):
    """What the header of an npy file says."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    order: Any
    """`C` or `F`"""
    end: int
    """Where the data begins."""
    promised_bytes: int
    """The length of the data."""


def read_npy_header(body: bytes) -> Header:
    """Read the header that `body` starts with.

    Raises: RequestError 400 if there is none, or numpy can hold no such array.
    """
    if not body.startswith(_NPY_MAGIC):
        raise RequestError(400, "the body is not an npy file")
    width = 2 if body[6:7] == b"\x01" else 4
    end = 8 + width + int.from_bytes(body[8 : 8 + width], "little")
    if end > NPY_HEADER_BYTES_MAXIMUM:
        allowed = f"{NPY_HEADER_BYTES_MAXIMUM} are allowed"
        raise RequestError(400, f"the npy header is {end} bytes long; {allowed}")
    header = _parse_npy_header(body[:end])
    if header is None:
        raise RequestError(400, "the body is not a complete npy file of format 1, 2 or 3")
    return header


def decode_npy(body: bytes | memoryview, shape: Shape, _: Mapping[str, str]) -> Images:
    """Decode one array, as a view of the body where its pixels are bytes already.

    Raises: RequestError 400 if the body is not a complete npy file of numbers that are images.
    """
    head = body
    if not isinstance(head, bytes):
        head = bytes(head[: NPY_HEADER_BYTES_MAXIMUM + 1])
    header = read_npy_header(head)
    _check_data(header, len(body))
    if header.dtype.kind not in "iuf":
        expected = "integers or floating-point numbers are expected"
        raise RequestError(400, f"the npy array is of type {header.dtype}; {expected}")
    flat = np.frombuffer(body, header.dtype, offset=header.end)
    return pixels.from_array(flat.reshape(header.shape, order=header.order), shape)


def load_npy(body: bytes) -> NDArray[Any]:
    """Load one array of numbers or texts. Raises: RequestError 400 if the body is not one."""
    _check_data(read_npy_header(body), len(body))  # numpy takes the memory that a header promises
    try:
        array: NDArray[Any] = np.load(io.BytesIO(body), allow_pickle=False)
    except ValueError as error:
        raise RequestError(400, f"the body is not application/x-npy: {error}") from error
    return array


def _check_data(header: Header, body_bytes: int) -> None:
    if header.dtype.hasobject:
        message = "the npy file holds pickled Python objects, which are never read"
        raise RequestError(400, f"{message}; a numeric array is expected")
    promised = header.promised_bytes
    found = body_bytes - header.end
    if found != promised:  # more is another array, for example
        raise RequestError(400, f"the npy header declares {promised} bytes of data; {found} follow")


@functools.lru_cache(maxsize=256)
def _parse_npy_header(header: bytes) -> Header | None:
    """Read the header of an npy file; None if it is not one, or of no array that numpy can hold."""
    major = header[6:7]
    if major not in (b"\x01", b"\x02", b"\x03"):
        return None
    text = header[10 if major == b"\x01" else 12 :]
    try:
        fields = ast.literal_eval(text.decode("utf-8" if major == b"\x03" else "latin-1"))
        dtype = np.lib.format.descr_to_dtype(fields["descr"])
        shape = tuple(fields["shape"])
        order = "F" if fields["fortran_order"] else "C"
        if not all(type(size) is int and size >= 0 for size in shape):
            return None
        # A view that takes no memory: numpy limits the dimensions and each size.
        np.broadcast_to(np.empty((), dtype), shape)
    except _HEADER_FAULTS:
        return None
    return Header(dtype, shape, order, len(header), math.prod(shape) * dtype.itemsize)


def decode_npz(
    body: bytes, shape: Shape, parameters: Mapping[str, str], expansion: Expansion
) -> Images:
    """Decode an archive of one npy file.

    Raises: RequestError 400 if it is not one, 413 if it expands too far.
    """
    with open_npz(body, expansion) as archive:
        members = archive.infolist()
        if len(members) != 1:
            quoted = [pixels.quote(member.filename) for member in members[:5]]
            names = ", ".join(quoted) or "nothing"
            raise RequestError(400, f"the npz file holds {names}; one array is expected")
        content = read_member(archive, members[0], members[0].file_size)
    return decode_npy(content, shape, parameters)


def open_npz(body: bytes, expansion: Expansion) -> zipfile.ZipFile:
    """Open an archive, after checking what its members may expand to.

    Raises: RequestError 400 if it is damaged, or no archive as numpy writes it; 413 if it expands
    too far.
    """
    # Python's list of the members takes ten times the room of theirs in the file.
    if body.count(_CENTRAL_HEADER) > _MEMBERS_MAXIMUM:
        raise RequestError(400, f"the npz file holds more than {_MEMBERS_MAXIMUM} arrays")
    try:
        archive = zipfile.ZipFile(io.BytesIO(body))
    except _DAMAGE:
        raise RequestError(400, _DAMAGED) from None
    for member in archive.infolist():
        if member.compress_type not in _COMPRESSIONS:
            message = "an array of the npz file is compressed by another method than deflate"
            raise RequestError(400, message)
        expansion.take(member.file_size)  # zipfile never reads more than that
    return archive


def read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, byte_count: int) -> memoryview:
    """Read the first bytes of a member, piece by piece: one long read takes three times its bytes.

    Raises: RequestError 400 if it is damaged.
    """
    content = np.empty(byte_count, np.uint8).data
    done = 0
    try:
        with archive.open(member) as stream:
            while piece := stream.read(min(byte_count - done, _PIECE_BYTES)):
                content[done : done + len(piece)] = piece
                done += len(piece)
    except _DAMAGE:
        raise RequestError(400, _DAMAGED) from None
    return content[:done]


def decode_recordio(body: bytes, shape: Shape, _: Mapping[str, str]) -> Images:
    """Decode records of one image each.

    Raises: RequestError 400 if the body is not RecordIO-protobuf, or a record is not an image.
    """
    count = math.prod(shape)
    decoded = bytearray()
    try:
        for records in recordio.decode(body, count):
            decoded += pixels.scale(records, len(decoded) // count + 1).data
    except ValueError as error:
        raise RequestError(400, f"the body is not RecordIO-protobuf: {error}") from None
    return np.frombuffer(decoded, np.uint8).reshape(-1, *shape)
