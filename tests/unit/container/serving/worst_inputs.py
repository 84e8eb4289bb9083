"""The worst bodies known for each decoder, and the memory and time that each takes (SEC-6).

    usage: python -m tests.unit.container.serving.worst_inputs [PAYLOAD_MIB [NAME ...]]

Each body is as long as the payload limit allows, or expands to more. It is decoded in a process of
its own, whose peak is read from the kernel. Prints a table, or with `--json` one document.
"""

from __future__ import annotations

import base64
import gzip
import io
import json
import os
import struct
import sys
import time
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from container.errors import RequestError
from container.serving import charsets
from container.serving.bodies import content_encoding, decoding, negotiation
from container.serving.bodies.content_encoding import Expansion
from container.serving.third_party import bounds, csv_bodies, predict_requests
from container.serving.third_party.tables import Table
from container.serving.user_code import default_input, inference_toolkit

Make = Callable[[int], bytes]
Decode = Callable[[bytes, int], Any]

SHAPE = (28, 28, 1)
ROW = b",".join([b"0"] * 784)
EMOJI = "\N{GRINNING FACE}".encode()


# What makes bodies


def fill(size: int, pump: bytes, head: bytes = b"", tail: bytes = b"") -> bytes:
    """Repeat `pump` between head and tail, up to `size` bytes."""
    return head + pump * ((size - len(head) - len(tail)) // len(pump)) + tail


def filling(pump: bytes, head: bytes = b"", tail: bytes = b"") -> Make:
    return lambda size: fill(size, pump, head, tail)


def short(make: Make) -> Make:
    """Make a sixteenth of it: a model of one pixel takes microseconds for a byte."""
    return lambda size: make(size // 16)


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


# What decodes them


def bundled(
    content_type: str, shape: tuple[int, int, int] = SHAPE, *, lines: bool = False
) -> Decode:
    media_type = negotiation.parse_media_type(content_type)

    def decode(body: bytes, payload_bytes: int) -> Any:
        if lines:
            return decoding.decode_lines(media_type, body, shape)
        return decoding.decode(media_type, body, shape, Expansion(payload_bytes))

    return decode


def gunzip(body: bytes, payload_bytes: int) -> Any:
    return content_encoding.decode(body, "gzip", Expansion(payload_bytes))


SMALL_NPZ = make_zip(make_npy("|u1", 0), zipfile.ZIP_DEFLATED)(1_000_000)


def for_user_code(decode: Callable[[Any], Any], *, is_text: bool = True) -> Decode:
    """Decode as for handlers and third-party models, which get text decoded."""

    def decode_for_user_code(body: bytes, payload_bytes: int) -> Any:
        bounds.count_payload_bytes = lambda: payload_bytes  # type: ignore[assignment]
        return decode(body.decode() if is_text else body)

    return decode_for_user_code


def longest(make: Make) -> Make:
    """Make the longest JSON that is not refused for its values."""

    def make_longest(size: int) -> bytes:
        bounds.count_payload_bytes = lambda: size  # type: ignore[assignment]
        length = size
        while True:
            body = make(length)
            try:
                bounds._check_json(body.decode())  # noqa: SLF001 - the limit that is tested
            except RequestError:
                length = int(length * 0.93)
            else:
                return body

    return make_longest


def make_sparse(size: int) -> bytes:
    """Make a sparse matrix whose arrays expand to the limit."""
    count = max(1, (size - 2000) // 16)
    arrays = {name: np.zeros(count, "<i4") for name in ("row", "col")}
    arrays |= {
        "data": np.zeros(count, "<f8"),
        "shape": np.array([9, 9]),
        "format": np.array(b"coo"),
    }
    return save(np.savez_compressed, **arrays)


TOOLKIT_FAULTS = inference_toolkit._FAULTS  # noqa: SLF001 - what `decode` makes 400 of
USER_JSON = for_user_code(inference_toolkit.json_to_numpy)
USER_CSV = for_user_code(inference_toolkit.csv_to_numpy)
USER_TFS = for_user_code(predict_requests.decode)
THIRD_CSV = for_user_code(
    lambda body: csv_bodies.decode(charsets.decode(body, {}), Table(2, ["a", "b"], text=[0])),
    is_text=False,
)
USER_NPZ = for_user_code(inference_toolkit.npz_to_sparse, is_text=False)
USER_NPY = for_user_code(inference_toolkit.npy_to_numpy, is_text=False)
CSV = bundled("text/csv")
JSON = bundled("application/json")
LINES = bundled("application/jsonlines")
NPY = bundled("application/x-npy")
NPZ = bundled("application/x-npz")
RECORDIO = bundled("application/x-recordio-protobuf")
MULTIPART = bundled("multipart/form-data; boundary=b")
CLOSE = b"\r\n--b--"
DEEP = b"[[" + b",".join([b"[0]"] * 28) + b"]" + (b",[" + b",".join([b"[0]"] * 28) + b"]") * 27

SMALL_PNG = base64.b64encode(make_picture("PNG"))
USER_LIBSVM = for_user_code(
    lambda body: default_input.decode(body, "text/libsvm", default_input.Taker()), is_text=False
)
USER_LINES = for_user_code(
    lambda body: default_input.decode(body, "application/jsonlines", default_input.Taker()),
    is_text=False,
)

CASES: dict[str, tuple[Decode, Make]] = {
    "CSV of plain rows": (CSV, filling(ROW + b"\n")),
    "CSV of odd rows": (CSV, filling(b"00," + ROW[2:] + b"\n")),
    "CSV of one odd row": (CSV, filling(b"0,", b"00,", b"0")),
    "CSV of one row of fractions": (CSV, filling(b".5,", b"", b"0")),
    "CSV of one cell": (CSV, filling(b"1")),
    "CSV of one cell, not ASCII": (CSV, filling(b"a", EMOJI)),
    "CSV of a long cell among enough": (CSV, filling(b"a", ROW[:-1] + EMOJI)),
    "CSV of commas": (CSV, filling(b",")),
    "CSV of line ends": (CSV, filling(b"\n")),
    "CSV of line ends before a row": (CSV, filling(b"\n", b"", ROW)),
    "CSV of short lines": (CSV, filling(b"1\n")),
    "CSV of quotes": (CSV, filling(b'"')),
    "CSV in UTF-16 of plain rows": (
        bundled("text/csv; charset=utf-16"),
        lambda size: fill(size // 2 - 1, ROW + b"\n").decode().encode("utf-16"),
    ),
    "CSV in UTF-16": (
        bundled("text/csv; charset=utf-16"),
        lambda size: fill(size // 3, b"1", EMOJI).decode().encode("utf-16") + b"1\0" * (size // 6),
    ),
    "CSV in UTF-16 of Chinese": (
        bundled("text/csv; charset=utf-16"),
        lambda size: ("\u4e2d" * (size // 2 - 1)).encode("utf-16"),
    ),
    "CSV of one pixel a row": (bundled("text/csv", (1, 1, 1)), short(filling(b"00\n"))),
    "CSV of bad lines": (bundled("text/csv", lines=True), filling(b"\n", b"", b"1")),
    "CSV of bad lines, of one pixel": (
        bundled("text/csv", (1, 1, 1), lines=True),
        filling(b"1\nx\n"),
    ),
    "JSON of plain rows": (JSON, filling(b"[" + ROW + b"],", b"[", b"[" + ROW + b"]]")),
    "JSON of odd rows": (JSON, filling(b"[-" + ROW + b"],", b"[", b"[" + ROW + b"]]")),
    "JSON of odd rows, deep": (JSON, filling(DEEP + b"],", b"[[[[-0]", b"]")),
    "JSON of odd images, deep": (
        JSON,
        filling(DEEP + b"],", b"[", DEEP.replace(b"[0]", b"[-0]") + b"]]"),
    ),
    "JSON of empty lists": (JSON, filling(b"[],", b"[", b"[]]")),
    "JSON of empty lists in one": (JSON, filling(b"[],", b"[[", b"[]]]")),
    "JSON of empty objects": (JSON, filling(b"{},", b"[", b"{}]")),
    "JSON of empty objects in one": (JSON, filling(b"{},", b"[[", b"{}]]")),
    "JSON of objects": (JSON, filling(b'{"a":0},', b"[[", b"{}]]")),
    "JSON of numbers": (JSON, filling(b"0,", b"[", b"0]")),
    "JSON of numbers in one image": (JSON, filling(b"0,", b"[[", b"0]]")),
    "JSON of fractions in one image": (JSON, filling(b".5,", b"[[", b"0]]")),
    "JSON of one number": (JSON, filling(b"1", b"[[", b"]]")),
    "JSON of one fraction": (JSON, filling(b"1", b"[[0.", b"]]")),
    "JSON of one string": (JSON, filling(b"a", b'[["' + EMOJI, b'"]]')),
    "JSON of strings": (JSON, filling(b'"ab",', b"[[", b"0]]")),
    "JSON of brackets": (JSON, filling(b"[")),
    "JSON of closing brackets": (JSON, filling(b"]", b"[[1")),
    "JSON of commas": (JSON, filling(b",", b"[[")),
    "JSON of spaces": (JSON, filling(b" ", b"[[", b"0]]")),
    "JSON of other keys": (JSON, filling(b'"a":[],', b"{", b'"instances":[]}')),
    "JSON of keys behind the images": (
        JSON,
        filling(b'"a":[],', b'{"instances":[[1]],', b'"b":0}'),
    ),
    "JSON in UTF-16": (
        bundled("application/json; charset=utf-16"),
        lambda size: ("[[" + "0," * (size // 4 - 4) + "0]]").encode("utf-16"),
    ),
    "JSON lines of plain rows": (LINES, filling(b"[" + ROW + b"]\n")),
    "JSON lines of odd rows": (LINES, filling(b"[-" + ROW + b"]\n")),
    "JSON lines of one line": (LINES, filling(b"[],")),
    "JSON lines of one image": (LINES, filling(b"0,", b"[", b"0]")),
    "JSON lines of line ends": (LINES, filling(b"\n", b"", b"1")),
    "JSON lines of one pixel": (
        bundled("application/jsonlines", (1, 1, 1)),
        short(filling(b"[1]\n")),
    ),
    "JSON lines, all bad": (bundled("application/jsonlines", lines=True), filling(b"1\n")),
    "JSON of pictures in base64": (JSON, filling(b'{"b64":"' + SMALL_PNG + b'"},', b"[", b"1]")),
    "JSON of one long base64": (JSON, filling(b"A", b'[{"b64":"', b'"}]')),
    "JSON of empty base64": (JSON, filling(b'{"b64":""},', b"[", b"1]")),
    "libsvm of short rows": (bundled("text/libsvm"), filling(b"1:1\n")),
    "libsvm of one row": (bundled("text/libsvm"), filling(b"1:1 ")),
    "npy of float16 in fractions": (NPY, make_npy("<f2", 0.5)),
    "npy of float64 in fractions": (NPY, make_npy("<f8", 0.5)),
    "npy of int8": (NPY, make_npy("|i1", 1)),
    "npy of int64": (NPY, make_npy("<i8", 1)),
    "npy of uint8 by columns": (NPY, make_npy("|u1", 1, fortran=True)),
    "npy of float16 by columns": (NPY, make_npy("<f2", 0.5, fortran=True)),
    "npz, stored": (NPZ, make_zip(make_npy("|i1", 1), zipfile.ZIP_STORED)),
    "npz, deflated": (NPZ, make_zip(make_npy("|i1", 1), zipfile.ZIP_DEFLATED)),
    "npz of float16 in fractions": (NPZ, make_zip(make_npy("<f2", 0.5), zipfile.ZIP_DEFLATED)),
    "npz of three times the limit": (NPZ, make_zip(zeros, zipfile.ZIP_DEFLATED, 3)),
    "npz by bzip2": (NPZ, make_zip(zeros, zipfile.ZIP_BZIP2)),
    "npz by lzma": (NPZ, make_zip(zeros, zipfile.ZIP_LZMA, 0.5)),
    "npz of empty members": (NPZ, make_members),
    "RecordIO of one packed record": (
        RECORDIO,
        lambda size: make_record(7, field(1, bytes(size - 100))),
    ),
    "RecordIO of one unpacked record": (
        RECORDIO,
        lambda size: make_record(7, fill(size, b"\x08\1")),
    ),
    "RecordIO of big integers": (
        RECORDIO,
        lambda size: make_record(7, field(1, fill(size - 100, b"\x80\x02"))),
    ),
    "RecordIO of unpacked floats": (
        RECORDIO,
        lambda size: make_record(2, fill(size - 100, b"\x0d\0\0\0\0")),
    ),
    "RecordIO of features": (RECORDIO, lambda size: frame(fill(size, b"\x0a\0"))),
    "RecordIO of images": (RECORDIO, filling(make_record(7, field(1, bytes(784))))),
    "RecordIO of float64": (RECORDIO, filling(make_record(3, field(1, bytes(784 * 8))))),
    "RecordIO of one pixel": (
        bundled("application/x-recordio-protobuf", (1, 1, 1)),
        short(filling(make_record(7, field(1, bytes(1))))),
    ),
    "RecordIO of empty records": (RECORDIO, filling(frame(b""))),
    "PNG of text": (
        bundled("image/png"),
        make_png(make_chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(1_000_000)))),
    ),
    "PNG of wide text": (
        bundled("image/png"),
        make_png(make_chunk(b"iTXt", b"a\0\1\0\0\0" + zlib.compress(EMOJI + b"a" * 999_900))),
    ),
    "PNG of private chunks": (bundled("image/png"), make_png(make_chunk(b"prVt", b""))),
    "PNG of palettes": (bundled("image/png"), make_png(make_chunk(b"PLTE", bytes(3)))),
    "JPEG of segments": (bundled("image/jpeg"), make_jpeg(b"\xff\xe1\0\2")),
    "JPEG of comments": (bundled("image/jpeg"), make_jpeg(b"\xff\xfe\0\2")),
    "JPEG of tables": (bundled("image/jpeg"), make_jpeg(b"\xff\xdb\0\x43\0" + b"\1" * 64)),
    "JPEG of fill bytes": (bundled("image/jpeg"), make_jpeg(b"\xff")),
    "JPEG of Exif data": (
        bundled("image/jpeg"),
        make_jpeg(b"\xff\xe1\xff\xffExif\0\0" + bytes(65_527)),
    ),
    "JPEG of scans of a large picture": (
        bundled("image/jpeg", (1024, 1024, 1)),
        lambda size: make_jpeg_of_scans(size, 1024),
    ),
    "PNG whose pixels expand": (bundled("image/png"), make_png_that_expands),
    "JPEG of scans": (bundled("image/jpeg"), make_jpeg_of_scans),
    "BMP of line ends": (bundled("image/bmp"), make_bmp_of_line_ends),
    "BMP with a tail": (bundled("image/bmp"), filling(b"\0", make_picture("BMP"))),
    "multipart of one npy": (MULTIPART, in_one_part(make_npy("|i1", 1), "application/x-npy")),
    "multipart of one JSON": (
        MULTIPART,
        in_one_part(filling(b"[],", b"[", b"[]]"), "application/json"),
    ),
    "multipart of two npy": (
        MULTIPART,
        lambda size: (
            part(make_npy("|i1", 1)(size - size // 100), "application/x-npy")
            + part(make_npy("|i1", 1)(size // 100 - 200), "application/x-npy")
            + CLOSE
        ),
    ),
    "multipart of one head": (MULTIPART, filling(b"a: b\r\n", b"--b\r\n", CLOSE)),
    "multipart of empty parts": (MULTIPART, filling(b"\r\n--b", b"", CLOSE)),
    "multipart of tiny parts": (
        bundled("multipart/form-data; boundary=b", (1, 1, 1)),
        short(filling(part(b"1", "text/csv"), b"", CLOSE)),
    ),
    "multipart of pictures": (
        MULTIPART,
        filling(part(make_picture("PNG"), "image/png"), b"", CLOSE),
    ),
    "multipart of npz": (
        MULTIPART,
        lambda size: fill(
            size // 10,
            part(
                make_zip(make_npy("|u1", 0), zipfile.ZIP_DEFLATED)(1_000_000), "application/x-npz"
            ),
            b"",
            CLOSE,
        ),
    ),
    "gzip of five times the limit": (gunzip, lambda size: gzip.compress(bytes(5 * size), 1)),
    "gzip of as much as the limit": (gunzip, lambda size: gzip.compress(bytes(size), 1)),
    "gzip, stored": (gunzip, lambda size: gzip.compress(os.urandom(size - size // 1000), 0)),
    "gzip of empty members": (gunzip, filling(gzip.compress(b""))),
    "gzip of small members": (gunzip, filling(gzip.compress(b"1,2,3"))),
    "user code: JSON of lists": (USER_JSON, filling(b"[],", b"[", b"[]]")),
    "user code: most JSON of lists": (USER_JSON, longest(filling(b"[],", b"[", b"[]]"))),
    "user code: most JSON of integers": (USER_JSON, longest(filling(b"300,", b"[", b"0]"))),
    "user code: most JSON of digits": (USER_JSON, longest(filling(b"0,", b"[", b"0]"))),
    "user code: most JSON of fractions": (USER_JSON, longest(filling(b"0.5,", b"[", b"0]"))),
    "user code: most JSON of objects": (USER_JSON, longest(filling(b'{"a":0},', b"[", b"{}]"))),
    "user code: most JSON of texts": (USER_JSON, longest(filling(b'"ab",', b"[", b'"a"]'))),
    "user code: most JSON of pairs": (USER_JSON, longest(filling(b"[0,0],", b"[", b"[0,0]]"))),
    "user code: most JSON of one long text": (
        USER_JSON,
        longest(
            lambda size: b'["' + b"a" * (size // 99) + b'",' + b'"",' * (size // 50000) + b"0]"
        ),
    ),
    "user code: most instances": (
        USER_TFS,
        longest(filling(b'{"a":0},', b'{"instances":[', b'{"a":0}]}')),
    ),
    "user code: JSON lines": (USER_LINES, filling(b"1\n")),
    "user code: libsvm of short rows": (USER_LIBSVM, filling(b"1:1\n")),
    "user code: CSV of digits": (USER_CSV, filling(b"0,0,0,0\n")),
    "user code: most CSV of digits": (USER_CSV, lambda size: fill(size // 10, b"0,0,0,0\n")),
    "user code: most CSV of one line": (USER_CSV, lambda size: fill(size // 10, b"0,", b"", b"0")),
    "user code: most CSV of text": (USER_CSV, lambda size: fill(size // 29, b"a,b\n")),
    "third party: most CSV of text": (THIRD_CSV, lambda size: fill(size // 29, b"a,1\n")),
    "third party: CSV of text": (THIRD_CSV, filling(b"a,1\n")),
    "user code: CSV of one long text": (USER_CSV, filling(b"a", b"b\n" * 1000)),
    "user code: CSV of line ends": (USER_CSV, filling(b"\n", b"", b"1")),
    "user code: npz": (USER_NPZ, make_sparse),
    "user code: npz, stored": (USER_NPZ, make_zip(zeros, zipfile.ZIP_STORED)),
    "user code: npy": (USER_NPY, make_npy("<f8", 1)),
}
"""By name: what decodes, and what makes the body for a size."""


DECODED = (
    *("CSV of plain rows", "CSV of odd rows", "CSV of one pixel a row", "JSON of plain rows"),
    *("CSV in UTF-16 of plain rows", "JSON of odd rows", "JSON of odd images, deep"),
    *("JSON lines of plain rows", "JSON lines of odd rows", "JSON lines of one pixel"),
    *("RecordIO of images", "RecordIO of float64", "RecordIO of one pixel"),
    *(name for name in CASES if name.startswith("user code: most")),
)
"""Long bodies of good images."""


# What measures


def read_kib(name: str) -> int:
    """Read one of the figures of this process in KiB."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1])
    raise LookupError(name)


def measure(decode: Decode, make: Make, payload_bytes: int) -> dict[str, Any]:
    """Decode one body; return its length, the memory on top of it, the time and the outcome."""
    body = make(payload_bytes)
    before = read_kib("VmRSS")
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # forgets the peak so far
    started = time.process_time()
    try:
        decode(body, payload_bytes)
        outcome = "decoded"
    except RequestError as error:
        outcome = f"{error.status}: {error}"
    except Exception as error:  # noqa: BLE001 - it is what the test reports
        outcome = f"{type(error).__name__}: {error}"
    return {
        "body_bytes": len(body),
        "extra_bytes": 1024 * (read_kib("VmHWM") - before),
        "seconds": time.process_time() - started,
        "outcome": outcome[:200],
    }


def measure_apart(decode: Decode, make: Make, payload_bytes: int) -> dict[str, Any]:
    """Measure in a process of its own."""
    readable, writable = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.write(writable, json.dumps(measure(decode, make, payload_bytes)).encode())
        finally:
            os._exit(0)
    os.close(writable)
    with os.fdopen(readable, "rb") as stream:
        answer = stream.read()
    os.waitpid(child, 0)
    return json.loads(answer) if answer else {"outcome": "the process died"}


def main(arguments: list[str]) -> None:
    as_json = "--json" in arguments
    numbers = [text for text in arguments if text.isdigit()]
    names = [text for text in arguments if text != "--json" and not text.isdigit()]
    payload_bytes = int(numbers[0] if numbers else 25) * 2**20
    gunzip(gzip.compress(make_picture("PNG")), payload_bytes)  # imports what is imported when used
    USER_NPZ(make_sparse(10_000), payload_bytes)
    for kind in ("PNG", "JPEG", "BMP"):
        bundled("image/" + kind.lower())(make_picture(kind), payload_bytes)
    figures = {}
    for name, (decode, make) in CASES.items():
        if names and name not in names:
            continue
        figures[name] = measure_apart(decode, make, payload_bytes)
        if not as_json:
            found = figures[name]
            extra = found.get("extra_bytes", 0)
            total = found.get("body_bytes", 0) + extra
            print(
                f"{total / payload_bytes:5.2f} of the limit ({extra / payload_bytes:4.2f} without "
                f"the body), {found.get('seconds', 0):5.2f} s: {name}: {found['outcome'][:90]}",
                flush=True,
            )
    if as_json:
        print(json.dumps(figures))


if __name__ == "__main__":
    main(sys.argv[1:])
