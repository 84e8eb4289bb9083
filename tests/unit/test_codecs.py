"""Bodies to images and probabilities to bodies; the oracle is numpy, and json and csv of the standard library."""

import csv
import io
import json
import pickle
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy
from PIL import Image

from container.errors import RequestError
from container.serving.bodies import decoding, encoding, negotiation

SHAPE = (2, 3, 1)
images = st_numpy.arrays(np.uint8, st.tuples(st.integers(1, 5), *map(st.just, SHAPE)))


def decode(content_type: str, body: bytes, shape: tuple[int, int, int] = SHAPE) -> Any:
    return decoding.decode(negotiation.parse_media_type(content_type), body, shape)


def refusal(content_type: str, body: bytes, shape: tuple[int, int, int] = SHAPE) -> str:
    with pytest.raises(RequestError) as caught:
        decode(content_type, body, shape)
    assert caught.value.status == 400
    return str(caught.value)


def to_npy(array: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def to_picture(array: Any, kind: str = "PNG", **options: Any) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, kind, **options)
    return stream.getvalue()


@given(images)
def test_every_media_type_decodes_to_the_same_images(expected: Any) -> None:
    flat = expected.reshape(len(expected), -1).tolist()
    as_csv = "\n".join(",".join(map(str, row)) for row in flat)
    bodies = [
        ("text/csv", as_csv.encode()),
        ("text/csv", as_csv.replace("\n", "\r\n").encode() + b"\r\n"),
        ("text/csv; charset=utf-16", as_csv.encode("utf-16")),
        ("text/csv", b"\xef\xbb\xbf" + as_csv.encode()),
        ("text/csv", as_csv.replace(",", ".0 , ").encode()),
        ("application/json", json.dumps(flat).encode()),
        ("application/json", json.dumps({"instances": flat}).encode()),
        ("application/json", json.dumps({"instances": expected.tolist()}).encode()),
        ("application/json", json.dumps(expected[..., 0].tolist()).encode()),
        ("application/x-npy", to_npy(expected)),
        ("application/x-npy", to_npy(np.asfortranarray(expected))),
        ("application/x-npy", to_npy(expected.reshape(len(expected), -1).astype(">i4"))),
        ("application/x-npy", to_npy(expected[..., 0].astype(np.float32))),
    ]
    for content_type, body in bodies:
        decoded = decode(content_type, body)
        assert decoded.dtype == np.uint8
        assert np.array_equal(decoded, expected), (content_type, body)


@given(
    images.filter(
        lambda array: bool(((array % 255) != 0).reshape(len(array), -1).any(axis=1).all())
    )
)
def test_fractions_of_255_decode_to_the_pixels_they_came_from(expected: Any) -> None:
    unit = expected / 255
    flat = unit.reshape(len(unit), -1).tolist()

    assert np.array_equal(decode("application/json", json.dumps(flat).encode()), expected)
    assert np.array_equal(decode("application/x-npy", to_npy(unit.astype(np.float32))), expected)
    assert np.array_equal(
        decode("text/csv", "\n".join(",".join(map(str, row)) for row in flat).encode()), expected
    )


def test_whole_numbers_of_0_and_1_are_pixels_and_not_unit_scale() -> None:
    assert decode("text/csv", b"0,1,1,1,0,0\n0,1,0.5,0,0,0").reshape(2, -1).tolist() == [
        [0, 1, 1, 1, 0, 0],
        [0, 255, 128, 0, 0, 0],
    ]


def test_csv_numbers_may_be_written_in_every_usual_way() -> None:
    assert decode("text/csv", b'+1,"2", 3 ,4.,5e0,007\n1,2,3,4,5,6').reshape(2, -1).tolist() == [
        [1, 2, 3, 4, 5, 7],
        [1, 2, 3, 4, 5, 6],
    ]


def test_csv_longer_than_a_block_keeps_its_rows_in_order() -> None:
    rows = np.random.default_rng(1).integers(0, 256, (300_000, 6), np.uint8)
    body = b"\n".join(b",".join(b"%d" % value for value in row) for row in rows.tolist())
    assert len(body) > 2_000_000

    assert np.array_equal(decode("text/csv", body).reshape(-1, 6), rows)
    assert "row 300001, column 2 is 256" in refusal("text/csv", body + b"\n1,256,3,4,5,6")


@pytest.mark.parametrize(
    ("body", "parts"),
    [
        (b"1,2,3,4,5\n", ["row 1 has 5 columns", "6 pixels"]),
        (b"1,2,3,4,5,6\n7,1,2,3,4,5,6\n", ["row 2 has 7 columns", "6 pixels", "label"]),
        (b"1,2,3,4,5,6\n\n1,2,3,4,5,6\n", ["row 2, column 1 is empty"]),
        (b"1,2,3,,5,6", ["row 1, column 4 is empty"]),
        (b"1,2,3,4,5,256", ["row 1, column 6 is 256", "0-255"]),
        (b"1,2,3,4,5,-1", ["row 1, column 6 is -1", "0-255"]),
        (
            b"0,0,0,0,0,0\n0,0.5,2,0,0,0",
            ["row 2, column 2 is 0.5", "0-255", "0-1", "divided by 255"],
        ),
        (b"0,0,0,0,0,nan", ["row 1, column 6 is 'nan'", "finite"]),
        (b"0,0,0,0,0,NaN", ["row 1, column 6 is 'NaN'"]),
        (b"0,0,inf,0,0,0", ["row 1, column 3 is 'inf'"]),
        (b"0,0,1e999,0,0,0", ["row 1, column 3 is inf"]),
        (b"0,0,1_0,0,0,0", ["row 1, column 3 is '1_0'"]),
        ("0,0,٣,0,0,0".encode(), ["row 1, column 3 is"]),
        (
            b"pixel0,pixel1,a,b,c,d\n0,0,0,0,0,0",
            ["row 1, column 1 is 'pixel0'", "without a header"],
        ),
        (b"1;2;3;4;5;6", ["row 1, column 1 is '1;2;3;4;5;6'"]),
        (b"1,2,3,4,5,6],[1,2,3,4,5,6", ["row 1, column 6"]),
        (b"1,2,3,4,5," + b"9" * 400, ["row 1, column 6 is"]),
        (b"1,2,3,4,5," + b"9" * 5000, ["row 1, column 6 is"]),
        (b" \n ", ["row 1, column 1 is empty"]),
        (b"\xff\xfe\x00", ["row 1, column 1"]),
    ],
)
def test_csv_fault_is_named_by_row_and_column(body: bytes, parts: list[str]) -> None:
    """RQ-8."""
    message = refusal("text/csv", body)

    assert all(part in message for part in parts), message
    assert len(message) < 500


@pytest.mark.parametrize(
    ("body", "parts"),
    [
        (b"{", ["not JSON"]),
        (b"\xff", ["not JSON"]),
        (b"[" * 100_000, ["nested too deeply"]),
        (b"{}", ["nothing", '{"instances": [image, ...]}']),
        (b'{"data": [1]}', ["'data'", '{"instances": [image, ...]}']),
        (b"3", ["JSON int"]),
        (b'{"instances": 3}', ["JSON int"]),
        (b"null", ["JSON NoneType"]),
        (b"[]", ["empty"]),
        (b"[[]]", ["[1, 0]"]),
        (b"[1, 2, 3, 4, 5, 6]", ["shape [6]", "[n, 6] or [n, 2, 3, 1] or [n, 2, 3]"]),
        (b"[[[[[1, 2, 3, 4, 5, 6]]]]]", ["shape [1, 1, 1, 1, 6]", "[n, 6]"]),
        (b"[[1, 2], [3, 4], [5, 6]]", ["shape [3, 2]", "[n, 6]"]),
        (b"[[1, 2, 3, 4, 5, 6], [1, 2, 3]]", ["row 2 has 3 values", "6 pixels"]),
        (b"[[1, 2, 3, 4, 5, 6], [[1, 2, 3], [4, 5, 6]]]", ["nested in different ways"]),
        (b"[[1, 2, 3, 4, 5, null]]", ["row 1, column 6 is null"]),
        (b"[[1, 2, 3, 4, 5, true]]", ["row 1, column 6 is true"]),
        (b'[[1, 2, 3, "4", 5, 6]]', ["row 1, column 4 is '4'"]),
        (b'[[1, 2, 3, {"a": 1}, 5, 6]]', ["row 1, column 4 is {"]),
        (b"[[1, 2, 3, 4, 5, NaN]]", ["row 1, column 6 is nan"]),
        (b"[[1, 2, 3, 4, 5, Infinity]]", ["row 1, column 6 is inf"]),
        (b"[[1, 2, 3, 4, 5, 256]]", ["row 1, column 6 is 256"]),
        (b"[[1, 2, 3, 4, 5, 1e30]]", ["row 1, column 6 is 1e+30"]),
        (b"[[1, 2, 3, 4, 5, " + b"9" * 400 + b"]]", ["row 1, column 6", "0-255"]),
        (b"[[1, 2, 3, 4, 5, " + b"9" * 9000 + b"]]", ["not JSON"]),
    ],
)
def test_json_fault_is_named(body: bytes, parts: list[str]) -> None:
    """RQ-8."""
    message = refusal("application/json", body)

    assert all(part in message for part in parts), message
    assert len(message) < 500


class Bomb:
    """An object whose unpickling would raise: the tests would see it."""

    def __reduce__(self) -> Any:
        """Give what unpickling would call."""
        return (eval, ("1 / 0",))


def forge_npy(header: str, data: bytes = b"", version: bytes = b"\x01\x00") -> bytes:
    return b"\x93NUMPY" + version + struct.pack("<H", len(header)) + header.encode() + data


@pytest.mark.parametrize(
    ("body", "parts"),
    [
        (to_npy(np.array([Bomb()], dtype=object)), ["pickled", "never read"]),
        (pickle.dumps(Bomb()), ["not an npy file"]),
        (b"\x93NUM", ["not an npy file"]),
        (b"\x93NUMPY\x01", ["not a complete npy file"]),
        (to_npy(np.zeros((1, 6), np.uint8))[:-1], ["promises 6 bytes", "5 follow"]),
        (to_npy(np.zeros((1, 6), np.uint8)) + b"1", ["promises 6 bytes", "7 follow"]),
        (
            forge_npy("{'descr': '|u1', 'fortran_order': False, 'shape': (1000000000000, 6)}"),
            ["0 follow"],
        ),
        (
            forge_npy("{'descr': '|u1', 'fortran_order': False, 'shape': (-1, 6)}"),
            ["not a complete npy file"],
        ),
        (
            forge_npy("{'descr': '|u1', 'fortran_order': False, 'shape': (True, 6)}"),
            ["not a complete npy file"],
        ),
        (
            forge_npy("{'descr': '|u1', 'fortran_order': False, 'shape': 6}"),
            ["not a complete npy file"],
        ),
        (
            forge_npy("{'descr': 'nonsense', 'fortran_order': False, 'shape': (1, 6)}"),
            ["not a complete npy file"],
        ),
        (forge_npy("__import__('os').abort()"), ["not a complete npy file"]),
        (forge_npy("(" * 9000), ["not a complete npy file"]),
        (forge_npy("[]"), ["not a complete npy file"]),
        (b"\x93NUMPY\x02\x00\xff\xff\xff\x7f", ["header is 2147483659 bytes long"]),
        (to_npy(np.zeros((1, 6), bool)), ["type bool"]),
        (to_npy(np.zeros((1, 6), complex)), ["type complex128"]),
        (to_npy(np.zeros((1, 6), "U3")), ["type <U3"]),
        (to_npy(np.uint8(3)), ["shape []"]),
        (to_npy(np.zeros((0, 6), np.uint8)), ["no image"]),
        (to_npy(np.zeros((1, 7), np.uint8)), ["shape [1, 7]"]),
        (to_npy(np.full((1, 6), np.nan, np.float32)), ["row 1, column 1 is nan"]),
        (to_npy(np.full((1, 6), 256, np.int16)), ["row 1, column 1 is 256"]),
        (to_npy(np.full((1, 6), 2**63, np.uint64)), ["row 1, column 1 is 9.2"]),
        (to_npy(np.full((1, 6), 1.5)), ["row 1, column 1 is 1.5"]),
    ],
)
def test_npy_fault_is_named_and_nothing_is_unpickled(body: bytes, parts: list[str]) -> None:
    """SEC-3, RQ-8."""
    message = refusal("application/x-npy", body)

    assert all(part in message for part in parts), message


@pytest.mark.parametrize(
    ("picture", "shape", "expected"),
    [
        (np.arange(6, dtype=np.uint8).reshape(2, 3), (2, 3, 1), np.arange(6)),
        (np.arange(18, dtype=np.uint8).reshape(2, 3, 3), (2, 3, 3), np.arange(18)),
        (np.full((2, 3), 7, np.uint8), (2, 3, 3), np.full(18, 7)),
        (np.full((2, 3, 3), 7, np.uint8), (2, 3, 1), np.full(6, 7)),
        (np.arange(24, dtype=np.uint8).reshape(2, 3, 4), (2, 3, 4), np.arange(24)),
        (np.arange(6, dtype=np.uint16).reshape(2, 3) * 257, (2, 3, 1), np.arange(6)),
    ],
)
def test_png_decodes_to_the_channels_of_the_model(
    picture: Any, shape: tuple[int, int, int], expected: Any
) -> None:
    assert decode("image/png", to_picture(picture), shape).ravel().tolist() == expected.tolist()


def test_jpeg_decodes_close_to_the_picture() -> None:
    picture = np.full((8, 8), 100, np.uint8)

    assert (
        np.abs(decode("image/jpeg", to_picture(picture, "JPEG"), (8, 8, 1)).astype(int) - 100).max()
        <= 2
    )


def bomb_png(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(bytes(10**6)))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("content_type", "body", "parts"),
    [
        ("image/png", to_picture(np.zeros((2, 3), np.uint8))[:-20], ["PNG", "not a complete one"]),
        ("image/png", to_picture(np.zeros((2, 3), np.uint8))[:20], ["PNG", "not a complete one"]),
        ("image/png", to_picture(np.zeros((2, 3), np.uint8)).replace(b"IDATx", b"IDATy"), ["PNG"]),
        (
            "image/png",
            to_picture(np.zeros((5, 4), np.uint8)),
            ["4x5", "3x2 (width x height) is expected"],
        ),
        ("image/png", to_picture(np.zeros((2, 3), np.uint8), "JPEG"), ["not a PNG picture"]),
        ("image/jpeg", to_picture(np.zeros((2, 3), np.uint8)), ["not a JPEG picture"]),
        ("image/jpeg", b"\xff\xd8\xff", ["JPEG"]),
        ("image/png", b"GIF89a", ["not a PNG picture"]),
        ("image/png", bomb_png(60_000, 60_000), ["too large", "3x2 (width x height) is expected"]),
        ("image/png", bomb_png(2**31 - 1, 2**31 - 1), ["3x2 (width x height) is expected"]),
    ],
)
def test_picture_fault_is_named(content_type: str, body: bytes, parts: list[str]) -> None:
    message = refusal(content_type, body)

    assert all(part in message for part in parts), message


@pytest.mark.parametrize(
    "content_type", ["", "text/plain", "application/x-www-form-urlencoded", "nonsense"]
)
def test_unknown_content_type_is_415_and_names_what_is_supported(content_type: str) -> None:
    """RQ-3."""
    with pytest.raises(RequestError, match=r"text/csv, application/json, .*image/png") as caught:
        decode(content_type, b"1,2,3,4,5,6")

    assert caught.value.status == 415


def test_unknown_charset_is_415() -> None:
    with pytest.raises(RequestError, match="charset 'ebcdic'") as caught:
        decode("text/csv; charset=EBCDIC", b"1,2,3,4,5,6")

    assert caught.value.status == 415


@pytest.mark.parametrize(
    "content_type", ["text/csv", "application/json", "application/x-npy", "image/png"]
)
def test_empty_body_is_400(content_type: str) -> None:
    """RQ-8."""
    assert "empty" in refusal(content_type, b"")


@given(
    probabilities=st_numpy.arrays(
        np.float32, st.tuples(st.integers(1, 4), st.just(3)), elements=st.floats(0, 1, width=32)
    ),
    end_of_line=st.booleans(),
)
def test_answers_in_every_media_type_hold_the_same_float32(
    probabilities: Any, *, end_of_line: bool
) -> None:
    classes = (3, 'a "b"', "é")

    def encode(name: str) -> bytes:
        return encoding.encode(name, probabilities, classes, end_of_line=end_of_line)

    document = json.loads(encode("application/json"))
    rows = list(csv.reader(io.StringIO(encode("text/csv").decode())))
    best = probabilities.argmax(axis=1).tolist()
    assert np.array_equal(np.float32(document["outputs"]), probabilities)
    assert np.array_equal(np.array(rows, np.float32), probabilities)
    assert np.array_equal(np.load(io.BytesIO(encode("application/x-npy"))), probabilities)
    assert set(document) == {"outputs", "predictions"}
    assert [prediction["index"] for prediction in document["predictions"]] == best
    assert [prediction["label"] for prediction in document["predictions"]] == [
        classes[index] for index in best
    ]
    assert np.array_equal(
        np.float32([prediction["score"] for prediction in document["predictions"]]),
        probabilities.max(axis=1),
    )
    assert encode("text/csv").endswith(b"\n") == end_of_line
    assert encode("application/json").endswith(b"\n") == end_of_line
