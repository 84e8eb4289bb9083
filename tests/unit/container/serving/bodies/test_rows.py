"""The C decoder of rows returns what the slow decoders return, for text of every kind."""

import importlib
import json
import shutil
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from container.errors import RequestError
from container.serving.bodies import decoding, negotiation, rows, text
from container.serving.bodies.content_encoding import Expansion

SHAPES = st.sampled_from([(2, 2, 1), (1, 3, 1), (1, 2, 3), (1, 1, 1)])


@pytest.fixture(scope="module", autouse=True)
def library() -> None:
    """Build the library where there is a compiler; without one, the Python code is tested."""
    if shutil.which("cc"):
        assert rows.build() == 0
        importlib.reload(text)
        assert text.decode_csv_rows(b"1,2", 2) is not None


def outcome(content_type: str, body: bytes, shape: tuple[int, int, int]) -> Any:
    try:
        media_type = negotiation.parse_media_type(content_type)
        images = decoding.decode(media_type, body, shape, Expansion())
    except RequestError as error:
        return str(error)
    return images.shape, images.tolist()


def assert_same(content_type: str, body: bytes, shape: tuple[int, int, int]) -> None:
    with_library = outcome(content_type, body, shape)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text, "decode_rows", lambda *_: None)
        without = outcome(content_type, body, shape)
    assert with_library == without


pixels = st.integers(0, 255).map(str)
fractions = st.one_of(
    st.integers(0, 255).map(lambda pixel: repr(pixel / 255)),
    st.integers(0, 255).map(lambda pixel: repr(float(np.float32(pixel / 255)))),
    st.floats(0, 1).map(repr),
    st.integers(0, 255).map(lambda twice: repr((twice + 0.5) / 255)),
)
odd = st.sampled_from(
    [
        "007",
        "-1",
        "+1",
        ".5",
        "5.",
        "1e2",
        "1E-2",
        "256",
        "0.",
        "1.0",
        "1e",
        "nan",
        "",
        " 3",
        "4 ",
        "1" * 30,
        "0." + "1" * 40,
        "1_0",
        "-0",
        "-0.0",
        "-1e-999",
        "00",
        "+.5",
        "5.e1",
        "2550e-1",
        "0x1",
        "inf",
        "0" * 1025,
        "\t3",
        "4\r",
        "1 2",
        "\x0b3",
        "\x1c4",
        "\u00a05",
        '"6"',
        '" 7 "',
    ]
)


@st.composite
def texts(draw: st.DrawFn) -> tuple[str, bytes, tuple[int, int, int]]:
    """Draw rows that are right, or wrong here and there, as CSV or as JSON of any nesting."""
    shape = draw(SHAPES)
    count = shape[0] * shape[1] * shape[2]
    numbers = [
        draw(
            st.lists(
                draw(st.sampled_from([pixels, pixels, fractions, odd])),
                min_size=count,
                max_size=count,
            )
        )
        for _ in range(draw(st.integers(1, 3)))
    ]
    if draw(st.booleans()):
        lines = [",".join(row) for row in numbers]
        text = draw(st.sampled_from(["\n", "\r\n", "\n", "\n\n", "\r"])).join(lines)
        return (
            "text/csv",
            (text + draw(st.sampled_from(["", "\n", "\r\n", "\n\n", " ", "\0", "\n\0"]))).encode(),
            shape,
        )
    comma = draw(st.sampled_from([",", ", ", " , ", ",\n"]))
    sizes = draw(
        st.sampled_from(
            [(count,), (count, shape[2]), (count, shape[1] * shape[2], shape[2]), (count, shape[1])]
        )
    )
    images = []
    for row in numbers:
        text = ""
        for index, number in enumerate(row):
            text += "".join("[" for size in sizes if index % size == 0) + number
            text += "".join("]" for size in sizes if (index + 1) % size == 0) + (
                comma if index + 1 < count else ""
            )
        images.append(text)
    text = (
        draw(st.sampled_from(["[", " [ ", "[["]))
        + comma.join(images)
        + draw(st.sampled_from(["]", " ] ", "", "]]", "],"]))
    )
    if draw(st.booleans()):
        text = '{"instances": ' + text + draw(st.sampled_from(["}", " } ", "", ', "a": 1}', "}}"]))
    return "application/json", text.encode(), shape


@given(texts())
@example(("text/csv", b"0.00196078431372549", (1, 1, 1)))
@example(("text/csv", b"1,2\x00", (1, 2, 1)))
@example(("application/json", b"[[1,2],[3,4]]", (2, 2, 1)))
@example(("application/json", b"[[[1,2],[3,4]]]", (2, 2, 1)))
@example(("application/json", b"[[1,2", (1, 2, 1)))
@example(("application/json", b"\x0b[[1,2]]", (1, 2, 1)))
def test_text_gives_the_same_pixels_or_the_same_error_as_the_slow_decoder(
    text: tuple[str, bytes, tuple[int, int, int]],
) -> None:
    assert_same(*text)


@given(st.sampled_from(["text/csv", "application/json"]), st.binary(max_size=40), st.data())
def test_damaged_text_gives_the_same_outcome(
    content_type: str, junk: bytes, data: st.DataObject
) -> None:
    right = b"1,2,3\n4,5,6" if content_type == "text/csv" else b'{"instances": [[1,2,3],[4,5,6]]}'
    cut = data.draw(st.integers(0, len(right)))
    skip = data.draw(st.integers(0, 3))

    assert_same(content_type, right[:cut] + junk + right[cut + skip :], (1, 3, 1))


@pytest.mark.parametrize("count", [1, 3, 500])
def test_long_text_gives_the_pixels_that_went_in(count: int) -> None:
    images = np.random.default_rng(count).integers(0, 256, (count, 28, 28, 1), np.uint8)
    flat = images.reshape(count, -1)

    for content_type, body in (
        ("text/csv", "\n".join(",".join(map(str, row)) for row in flat.tolist())),
        (
            "text/csv",
            "\r\n".join(",".join(map(repr, row)) for row in (flat / 255).tolist()) + "\r\n",
        ),
        ("application/json", json.dumps({"instances": images.tolist()})),
        ("application/json", json.dumps(images[..., 0].tolist(), separators=(",", ":"))),
        ("application/json", json.dumps((flat / 255).tolist())),
    ):
        media_type = negotiation.parse_media_type(content_type)
        decoded = decoding.decode(media_type, body.encode(), (28, 28, 1), Expansion())
        assert np.array_equal(decoded, images)


def test_missing_compiler_is_said_in_one_line(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CC", raising=False)

    assert rows.build() == 1
    assert capsys.readouterr().err == "no C compiler (cc) is installed\n"


@pytest.mark.parametrize("written", ["00", "-0", "+0", ".0", "0.", "0e0", "\t0", "0 ", "000.0e-3"])
def test_rare_spelling_of_csv_is_decoded_by_the_library(written: str) -> None:
    """SEC-6: one such cell in a row made Python look at all cells of its block."""
    if not rows.is_compiled():
        pytest.skip("there is no C compiler")
    decoded = text.decode_csv_rows(f"1,{written},3\n4,{written},6".encode(), 3)
    assert decoded is not None
    assert decoded.tolist() == [[1, 0, 3], [4, 0, 6]]


def test_only_json_numbers_are_decoded_in_json() -> None:
    if not rows.is_compiled():
        pytest.skip("there is no C compiler")
    for written, is_json in (("-0", True), ("0.5e0", True), ("2550e-1", True)):
        assert (text.decode_rows(f"[{written}]]".encode(), (1,), 1, 1) is not None) == is_json
    for written in ("00", "+1", ".5", "5.", "-1", "1e", "0x1", "inf", "nan", ""):
        assert text.decode_rows(f"[{written}]]".encode(), (1,), 1, 1) is None
