"""What makes the bodies that are worst for a decoder, as long as they may be."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image

Make = Callable[[int], bytes]
Decode = Callable[[bytes, int], Any]

SHAPE = (28, 28, 1)
ROW = b",".join([b"0"] * 784)
EMOJI = "\N{GRINNING FACE}".encode()


def fill(size: int, pump: bytes, head: bytes = b"", tail: bytes = b"") -> bytes:
    """Repeat `pump` between head and tail, up to `size` bytes."""
    return head + pump * ((size - len(head) - len(tail)) // len(pump)) + tail


def filling(pump: bytes, head: bytes = b"", tail: bytes = b"") -> Make:
    return lambda size: fill(size, pump, head, tail)


def short(make: Make) -> Make:
    """Make an eightieth of it: there is a limit on the records of a body."""
    return lambda size: make(size // 80)


def save(function: Any, *arguments: Any, **options: Any) -> bytes:
    stream = io.BytesIO()
    function(stream, *arguments, **options)
    return stream.getvalue()


def make_npy(dtype: str, value: float, *, fortran: bool = False) -> Make:
    def make(size: int) -> bytes:
        rows = max(1, (size - 128) // np.dtype(dtype).itemsize // 784)
        array = np.full((rows, 784), value, dtype, order="F" if fortran else "C")
        return save(np.save, array)

    return make


def make_zip(make: Make, method: int, share: float = 1) -> Make:
    def make_archive(size: int) -> bytes:
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w", method) as archive:
            archive.writestr("a.npy", make(int(size * share) - 300))
        return stream.getvalue()

    return make_archive


def make_members(size: int) -> bytes:
    """Make a zip archive of as many empty members as it holds."""
    entry = struct.pack("<4s4B4HL2L5H2L", b"PK\x01\x02", *[20, 3, 20, 0], *[0] * 14)
    count = size // (len(entry) + 1)
    directory = (entry[:28] + b"\1\0" + entry[30:] + b"a") * count
    end = struct.pack(
        "<4s4H2LH", b"PK\5\6", 0, 0, count & 65535, count & 65535, len(directory), 0, 0
    )
    return directory + end


def frame(record: bytes) -> bytes:
    return struct.pack("<II", 0xCED7230A, len(record)) + record + bytes(-len(record) % 4)


def field(number: int, content: bytes) -> bytes:
    length = b""
    rest = len(content)
    while rest > 127:
        length += bytes([rest & 127 | 128])
        rest >>= 7
    return bytes([number << 3 | 2]) + length + bytes([rest]) + content


def make_record(number: int, content: bytes) -> bytes:
    tensor = field(number, content)
    return frame(field(1, field(1, b"values") + field(2, tensor)))


def make_picture(kind: str, side: int = 28, **options: Any) -> bytes:
    return save(Image.new("L", (side, side)).save, format=kind, **options)


def make_chunk(name: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(name + content)
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", checksum)


def make_png(chunk: bytes) -> Make:
    """Make a PNG with one chunk repeated before its pixels."""
    plain = make_picture("PNG")
    return filling(chunk, plain[:33], plain[33:])


def make_png_that_expands(size: int) -> bytes:
    """Make a PNG with many times the pixels as its header says."""
    plain = make_picture("PNG")
    pixels = zlib.compress(bytes(5 * size), 1)
    return plain[:33] + make_chunk(b"IDAT", pixels) + plain[-12:]


def make_jpeg(segment: bytes) -> Make:
    plain = make_picture("JPEG")
    return filling(segment, plain[:2], plain[2:])


def make_jpeg_of_scans(size: int, side: int = 28) -> bytes:
    plain = make_picture("JPEG", side, progressive=True)
    start = plain.index(b"\xff\xda")
    end = plain.index(b"\xff", start + 2)
    return fill(size, plain[start:end], plain[:start], plain[start:])


def make_bmp_of_line_ends(size: int) -> bytes:
    """Make a BMP whose run lengths say nothing but that the line ends."""
    plain = bytearray(make_picture("BMP"))
    plain[30:34] = struct.pack("<I", 1)
    offset = struct.unpack("<I", plain[10:14])[0]
    return fill(size, b"\0\0", bytes(plain[:offset]), b"\0\1")


def part(content: bytes, media_type: str) -> bytes:
    return b"\r\n--b\r\nContent-Type: %b\r\n\r\n%b" % (media_type.encode(), content)


def in_one_part(make: Make, media_type: str) -> Make:
    return lambda size: part(make(size - 80), media_type) + b"\r\n--b--"


def zeros(size: int) -> bytes:
    return bytes(size)
