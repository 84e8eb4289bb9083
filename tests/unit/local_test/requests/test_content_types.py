"""`invoke` knows what it sends: by the file's suffix, or by its first bytes."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from local_test.requests.content_types import UNKNOWN, guess, is_text


def make_picture(kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (3, 2), (200, 10, 10)).save(buffer, kind)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("kind", "content_type"),
    [
        ("PNG", "image/png"),
        ("JPEG", "image/jpeg"),
        ("WEBP", "image/webp"),
        ("GIF", "image/gif"),
        ("BMP", "image/bmp"),
        ("TIFF", "image/tiff"),
    ],
)
@pytest.mark.parametrize("name", ["-", "photo", "PHOTO.JPG", "photo.bin"])
def test_a_picture_is_known_by_its_first_bytes_whatever_its_name(
    kind: str, content_type: str, name: str
) -> None:
    assert guess(name, make_picture(kind)) == content_type


@pytest.mark.parametrize(
    ("name", "content_type"),
    [
        ("rows.csv", "text/csv"),
        ("rows.CSV", "text/csv"),
        ("one.json", "application/json"),
        ("many.jsonl", "application/jsonlines"),
        ("many.ndjson", "application/jsonlines"),
        ("a.npy", "application/x-npy"),
        ("a.npz", "application/x-npz"),
        ("t.parquet", "application/x-parquet"),
        ("photo.jpeg", "image/jpeg"),
        ("photo.JPG", "image/jpeg"),
        ("photo.webp", "image/webp"),
        ("rows.svm", "text/libsvm"),
    ],
)
def test_a_suffix_says_what_it_is(name: str, content_type: str) -> None:
    assert guess(name, b"\x00\x01") == content_type


def make_arrays() -> tuple[bytes, bytes]:
    one, several = io.BytesIO(), io.BytesIO()
    np.save(one, np.zeros(3))
    np.savez(several, a=np.zeros(3))
    return one.getvalue(), several.getvalue()


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (make_arrays()[0], "application/x-npy"),
        (make_arrays()[1], "application/x-npz"),
        (b"PAR1....", "application/x-parquet"),
        (b'{"instances": [[1, 2]]}', "application/json"),
        (b"[[1,\n 2]]", "application/json"),
        (b'{"a": 1}\n{"a": 2}\n', "application/jsonlines"),
        (b'{"a": 1}\n', "application/json"),
        (b'{\n"a": 1}\n', "application/json"),
        (b"\xef\xbb\xbf1,2\r\n", "text/csv"),
        (b"BMW,1\n", "text/csv"),
        (b"caf\xc3\xa9,1\n", "text/csv"),
        (b"", "text/csv"),
        (b"\x00\x01\x02", UNKNOWN),
        (b"\x1f\x8b\x08\x00", UNKNOWN),
    ],
)
def test_without_a_telling_name_the_content_decides(body: bytes, content_type: str) -> None:
    assert guess("body", body) == content_type
    assert guess("body.dat", body) == content_type


def test_a_character_cut_at_the_end_of_the_sample_is_text() -> None:
    for shift in range(3):
        assert is_text(b"a" * (4095 - shift) + "é€".encode() * 10)
    assert not is_text(b"a" * 100 + b"\xc3")
