"""CSV, JSON and JSON lines to images, and the place of each fault."""

import json

import numpy as np
import pytest

from container.errors import RequestError
from tests.unit.container.serving.bodies.request_bodies import IMAGES, decode, refusal


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
        (b"pixel0,pixel1,a,b,c\n0,0,0,0,0,0", ["row 1, column 1 is 'pixel0'"]),
        (b"pixel0,pixel1,a,b,c,d\n0,0,0,0,x,0", ["row 2, column 5 is 'x'"]),
        (b"1;2;3;4;5;6", ["row 1, column 1 is '1;2;3;4;5;6'"]),
        (b"1,2,3,4,5,6],[1,2,3,4,5,6", ["row 1, column 6"]),
        (b"1,2,3,4,5," + b"9" * 400, ["row 1, column 6 is"]),
        (b"1,2,3,4,5," + b"9" * 5000, ["row 1, column 6 is"]),
        (b" \n ", ["row 1, column 1 is empty"]),
        (b"\xff\xfe\x00", ["not utf-16", "byte order mark"]),
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
        (b'{"instances": [[1]], "instances": [[2]]}', ["the name 'instances' 2 times"]),
        (b'{"a": 1, "a": 2, "instances": [{"b64": "AA=="}]}', ["the name 'a' 2 times"]),
        (b'{"instances": [{"b64": "AA==", "b64": "AA=="}]}', ["the name 'b64' 2 times"]),
    ],
)
def test_json_fault_is_named(body: bytes, parts: list[str]) -> None:
    """RQ-8."""
    message = refusal("application/json", body)

    assert all(part in message for part in parts), message
    assert len(message) < 500


def test_unknown_charset_is_415() -> None:
    with pytest.raises(RequestError, match="charset 'ebcdic'") as caught:
        decode("text/csv; charset=EBCDIC", b"1,2,3,4,5,6")

    assert caught.value.status == 415


def test_json_lines_decode_to_their_images() -> None:
    flat = IMAGES.reshape(4, -1).tolist()
    lines = [
        json.dumps(flat[0]),
        json.dumps({"features": flat[1]}),
        json.dumps(IMAGES[2].tolist()),
        json.dumps(flat[3]),
    ]

    assert np.array_equal(decode("application/jsonlines", "\n".join(lines).encode()), IMAGES)
    assert np.array_equal(
        decode("application/jsonlines", ("\r\n".join(lines) + "\r\n").encode()), IMAGES
    )


@pytest.mark.parametrize(
    ("body", "part"),
    [
        (b"[1,2,3,4,5,6]\n[1,2]", "line 2"),
        (b"[1,2,3,4,5,6]\n\n[1,2,3,4,5,6]", "line 2"),
        (b'{"features": [1,2,3,4,5,256]}', "line 1: row 1, column 6 is 256"),
        (b'{"instances": [1,2,3,4,5,6]}', "line 1"),
        (b"[1,2,3,4,5,6],[1,2,3,4,5,6]", "line 1"),
        (b"\n", "line 1"),
    ],
)
def test_json_lines_fault_is_named_by_its_line(body: bytes, part: str) -> None:
    assert part in refusal("application/jsonlines", body)


def test_header_of_numbers_is_no_record_if_the_content_type_says_so() -> None:
    body = b"0,1,2,3,4,5\n6,7,8,9,10,11"
    for written in ("present", "Present", '"PRESENT"'):
        assert decode(f"text/csv; header={written}", body).ravel().tolist() == [*range(6, 12)]
    assert len(decode("text/csv; header=absent", body)) == 2
    assert "present or absent" in refusal("text/csv; header=maybe", body)
