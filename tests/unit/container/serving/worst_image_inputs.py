"""The worst bodies known for each decoder of images."""

from __future__ import annotations

import base64
import gzip
import os
import zipfile
import zlib
from typing import Any

from container.serving.bodies import content_encoding, decoding, negotiation
from container.serving.bodies.content_encoding import Expansion
from tests.unit.container.serving.worst_bodies import (
    EMOJI,
    ROW,
    SHAPE,
    Decode,
    Make,
    field,
    fill,
    filling,
    frame,
    in_one_part,
    make_bmp_of_line_ends,
    make_chunk,
    make_jpeg,
    make_jpeg_of_scans,
    make_members,
    make_npy,
    make_picture,
    make_png,
    make_png_that_expands,
    make_record,
    make_zip,
    part,
    short,
    zeros,
)


def bundled(
    content_type: str, shape: tuple[int, int, int] = SHAPE, *, lines: bool = False
) -> Decode:
    media_type = negotiation.parse_media_type(content_type)

    def decode(body: bytes, payload_bytes: int) -> Any:
        if lines:
            return decoding.decode_with_faults(media_type, body, shape)
        return decoding.decode(media_type, body, shape, Expansion(payload_bytes))

    return decode


def gunzip(body: bytes, payload_bytes: int) -> Any:
    return content_encoding.decode(body, "gzip", Expansion(payload_bytes))


SMALL_NPZ = make_zip(make_npy("|u1", 0), zipfile.ZIP_DEFLATED)(1_000_000)


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
}
