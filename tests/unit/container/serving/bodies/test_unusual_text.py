"""Text that is decoded in blocks gives what it gives in one piece."""

import itertools
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from container.errors import RequestError
from container.serving.bodies import rows, text, unusual_text

SHAPE = (2, 3, 1)
NUMBERS = st.one_of(
    st.integers(0, 255).map(str),
    st.sampled_from(["-0", "1e0", "0.5", "007", "256", "", '"1"', "x"]),
)


def decode(content_type: str, body: bytes) -> Any:
    try:
        if content_type == "text/csv":
            return unusual_text.decode_csv(body, 6, 1, text.decode_csv_rows).tolist()
        return unusual_text.decode_json(body, SHAPE).reshape(-1, 6).tolist()
    except RequestError as error:
        return error.status


def decode_in_blocks(content_type: str, body: bytes, block_bytes: int) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(unusual_text, "BLOCK_BYTES", block_bytes)
        return decode(content_type, body)


@st.composite
def bodies(draw: st.DrawFn) -> tuple[str, bytes]:
    """Draw rows that are right, or wrong here and there, as CSV or as JSON of any nesting."""
    rows = draw(st.lists(st.lists(NUMBERS, min_size=6, max_size=6), min_size=1, max_size=20))
    if draw(st.booleans()):
        return "text/csv", "\n".join(",".join(row) for row in rows).encode()
    opening, middle, closing = draw(
        st.sampled_from([("[", ",", "]"), ("[[", "],[", "]]"), ("[ [", "] ,\n[", "]\t]")])
    )
    images = [opening + ",".join(row[:3]) + middle + ",".join(row[3:]) + closing for row in rows]
    text = "[" + ",".join(images) + draw(st.sampled_from(["]", " ]\n", "", "]]"]))
    if draw(st.booleans()):
        text = '{"instances": ' + text + draw(st.sampled_from(["}", ', "a": [1]}', ""]))
    return "application/json", text.encode()


@given(bodies(), st.integers(20, 200))
@example(("application/json", b"[[1,2,3,4,5,6],[1,2,3,4,5,6]]"), 20)
@example(("application/json", b'{"a":1,"instances":[[1,2,3,4,5,-0],[1,2,3,4,5,6]]}'), 30)
@example(("application/json", b'{"a":"instances","instances":[[1,2,3,4,5,6]]}'), 40)
@example(("application/json", b'{"instances":[[1,2,3,4,5,6]],"instances":[[1,2,3,4,5,7]]}'), 40)
def test_blocks_give_what_one_piece_gives(drawn: tuple[str, bytes], block_bytes: int) -> None:
    content_type, body = drawn
    in_one = decode(content_type, body)
    in_blocks = decode_in_blocks(content_type, body, block_bytes)

    # What comes before the images, or after them, may be too long: never is anything else decoded.
    assert in_blocks in (in_one, 400)
    if in_one == 400 or (len(body) > 2 * block_bytes and b'"' not in body):
        assert in_blocks == in_one


@pytest.mark.parametrize("nested", [False, True])
def test_long_body_of_unusual_numbers_keeps_its_images_in_order(nested: bool) -> None:
    images = np.random.default_rng(0).integers(0, 256, (60_000, *SHAPE), np.uint8)
    rows = images.tolist() if nested else images.reshape(-1, 6).tolist()
    body = b'{"instances": ' + json.dumps(rows).encode().replace(b"7]", b"7.0]") + b"}"
    assert len(body) > 10 * unusual_text.BLOCK_BYTES

    assert np.array_equal(unusual_text.decode_json(body, SHAPE), images)


def test_fault_of_a_long_body_is_named_by_its_row() -> None:
    good = b"[1,2,3,4,5,6],"
    body = b"[" + 50_000 * good
    for bad, message in (
        (b"[1,2,3,4,5,256]]", "row 50001, column 6 is 256"),
        (b"[1,2,3,4,5]]", "row 50001 has 5 values"),
        (b'[1,2,3,4,5,"6"]]', "row 50001, column 6 is '6'"),
        (
            b"[1,2,3,4,5," + b"1," * 500_000 + b"6]]",
            r"row \d+ or a later one is not an image of 6 pixels",
        ),
    ):
        with pytest.raises(RequestError, match=message):
            unusual_text.decode_json(body + bad, SHAPE)


def test_patterns_find_where_an_image_ends() -> None:
    for depth, spaces in itertools.product((1, 2, 3), (b"", b" ", b"\n\t")):
        closing = spaces.join([b"]"] * depth)
        body = b"1,2" + closing + b",[3"
        end = unusual_text._find_image_end(body, 0, len(body), depth)  # noqa: SLF001 - its rule
        assert body[:end] == b"1,2" + closing


@pytest.mark.parametrize(
    ("head", "row"),
    [
        ("a,b,c,d,e,f\n", "1,2,3,4,5,6\n"),
        ("a,b,c,d,e,f\n", "00,+1,.5e1,2.,\t3,4 \n"),
        ("", "\u00a01,2,3\u2003,4,5,6\n"),
        ("", "\x0b1,2,3,\x1c4,5,06\n"),
        ("", '"1"," 2",03,4,5,6\r\n'),
    ],
)
def test_blocks_of_rare_rows_are_left_to_the_library(head: str, row: str) -> None:
    """SEC-6: whatever keeps the library from the whole body; Python takes twenty times as long."""
    if not rows.is_compiled():
        pytest.skip("there is no C compiler")
    body = (head + 20_000 * row).encode()
    assert len(body) > unusual_text.BLOCK_BYTES

    left_to_python = []

    def note(block: bytes, columns: int) -> Any:
        decoded = text.decode_csv_rows(block, columns)
        if decoded is None:
            left_to_python.append(block)
        return decoded

    assert len(unusual_text.decode_csv(body, 6, 1, note, has_header=bool(head))) == 20_000
    assert left_to_python == []


def test_blank_line_at_the_end_of_a_block_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unusual_text, "BLOCK_BYTES", 12)
    for blanks in (b"\n", b"\n\n", b"\n \n"):
        with pytest.raises(RequestError, match="row 2, column 1 is empty"):
            unusual_text.decode_csv(b"1,2,3\n" + blanks + b"4,5,6\n", 3, 1, text.decode_csv_rows)


@pytest.mark.parametrize(
    ("cell", "found"),
    [("x", "'x'"), ("1_0", "'1_0'"), ("", "is empty"), ("nan", "'nan'"), ("1" * 1025, "'1111")],
)
@pytest.mark.parametrize("place", [1, 2, 3])
def test_wrong_cell_is_named_wherever_it_stands(cell: str, found: str, place: int) -> None:
    for good in ("1", "+.5e1", '"7"', " 8\u00a0", "1" + " " * 2000):
        cells = [good] * 3
        cells[place - 1] = cell
        with pytest.raises(RequestError, match="row 1, column") as caught:
            unusual_text.decode_csv(",".join(cells).encode(), 3, 1, text.decode_csv_rows)
        assert f"column {place} " in str(caught.value)
        assert found in str(caught.value)
