"""Doubts about a set: what is probably meant in another way is said, and ordinary sets are not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from container.data import doubts, loading
from container.data.formats.parts import Options

RANDOM = np.random.default_rng(5)
ROWS = 200
DIGITS = RANDOM.integers(0, 10, (ROWS, 1))
ADVICE = "set label_column=last, or label_column=first if this is right"

Numbers = NDArray[np.int64]


def draw(values: int | list[int], columns: int = 16, rows: int = ROWS) -> Numbers:
    """Draw pixels from these values, or from 0 to one less."""
    return RANDOM.choice(values, (rows, columns))


def darken(pixels: Numbers, share: float = 0.97) -> Numbers:
    """Make most pixels of the corners black, as pictures of centered things have them."""
    for column in (0, -1):
        pixels[RANDOM.random(len(pixels)) < share, column] = 0
    return pixels


def read(directory: Path, *columns: Numbers, header: str = "", label_column: str = "label") -> str:
    """Read these columns as CSV, and return the notes."""
    table = np.hstack(columns)
    rows = [header] * bool(header) + [",".join(map(str, row)) for row in table.tolist()]
    (directory / "rows.csv").write_text("\n".join(rows))
    return "\n".join(loading.load(directory, Options(label_column=label_column)).notes)


LAST = {
    "sixteen shades": (draw(17), DIGITS),
    "256 shades, three classes": (draw(256), DIGITS % 3),
    "black and white": (draw([0, 255]), DIGITS % 7),
    "true and false": (draw(2), DIGITS),
    "classes 3 and 7": (draw(100), np.where(DIGITS > 4, 7, 3)),
    "classes from 1": (draw(17), DIGITS + 1),
    "one class of four images in five": (draw(17), (DIGITS > 7).astype(int)),
    "dark corners": (darken(draw(256)), DIGITS),
    "sorted by class": (draw(17), np.sort(DIGITS, axis=0)),
    "as bright as labels": (draw(9), DIGITS),
}


@pytest.mark.parametrize("kind", LAST)
def test_a_label_in_the_last_column_is_suspected(kind: str, tmp_path: Path) -> None:
    text = read(tmp_path, *LAST[kind])
    assert "the first column is taken as the label" in text
    assert ADVICE in text


def test_a_header_that_does_not_name_the_label_is_no_help(tmp_path: Path) -> None:
    header = ",".join([*(f"{chr(97 + i)}{i}" for i in range(16)), "digit"])
    assert ADVICE in read(tmp_path, *LAST["sixteen shades"], header=header)


@pytest.mark.parametrize("label_column", ["first", "1", "last", "-1"])
def test_a_column_that_is_named_is_not_doubted(label_column: str, tmp_path: Path) -> None:
    assert ADVICE not in read(tmp_path, *LAST["sixteen shades"], label_column=label_column)


def test_a_label_that_the_header_names_is_not_doubted(tmp_path: Path) -> None:
    header = ",".join(["label", *(f"p{i}" for i in range(16))])
    assert ADVICE not in read(tmp_path, *LAST["sixteen shades"], header=header)


def blur(rows: int) -> Numbers:
    """Make pictures of which the last corner is a little brighter than black."""
    pixels = darken(draw(256, rows=rows))
    pixels[:, -1] = np.minimum(pixels[:, -1], 3)
    return pixels


FIRST = {
    "black corners": (DIGITS, darken(draw(256), 1.0)),
    "dark corners": (DIGITS, darken(draw(256))),
    "dim corners": (DIGITS, blur(ROWS)),
    "sixteen shades": (DIGITS, draw(17)),
    "four shades": (DIGITS, draw([0, 85, 170, 255])),
    "black and white": (DIGITS, draw([0, 255])),
    "true and false": (DIGITS, draw(2)),
    "two classes": (DIGITS % 2, draw(256)),
    "47 classes": (RANDOM.integers(0, 47, (ROWS, 1)), darken(draw(256))),
    "classes with gaps": (DIGITS * 7 + 2, darken(draw(256))),
    "one rare class": ((DIGITS == 0).astype(int), darken(draw(256))),
    "few rows": (DIGITS[:12], draw(17, rows=12)),
    "one shade per picture": (DIGITS, np.repeat(DIGITS * 20, 16, axis=1)),
}


@pytest.mark.parametrize("kind", FIRST)
def test_a_label_in_the_first_column_is_not_doubted(kind: str, tmp_path: Path) -> None:
    assert ADVICE not in read(tmp_path, *FIRST[kind])


@pytest.mark.parametrize(
    ("classes", "expected"),
    [
        (("7", "007", "cat"), "'7', '007' differ only in how the number is written"),
        (("8", "8.0", "cat"), "'8', '8.0' differ only in how the number is written"),
        (("True", "true"), "'True', 'true' differ only in case"),
        (("\uff41", "a"), "'\uff41', 'a' differ only in case"),
        (("None", "cat"), "'None' is taken as a class, but programs also write it"),
        (("cat", "<NA>"), "'<NA>' is taken as a class, but programs also write it"),
        (("9007199254740992", "9007199254740993", "cat"), ""),
        (("A-", "A", "none"), ""),
        ((-3, 3), ""),
        (("1_0", "10"), ""),
    ],
)
def test_classes_that_may_be_one_or_none_are_named(
    classes: tuple[str | int, ...], expected: str
) -> None:
    found = doubts.find_label_doubts(classes, 1000)
    assert len(found) == bool(expected)
    assert expected in "".join(found)


@pytest.mark.parametrize(
    ("label", "doubt"),
    [
        ("caf\u00c3\u00a9", "looks like 'caf\u00e9', read in another charset than UTF-8"),
        ("it\u00e2\u20ac\u2122s", "looks like 'it\u2019s', read in another charset"),
        ("a\n1,2\n", "holds a line end, perhaps since a quotation mark is missing"),
    ],
)
def test_a_label_that_was_read_in_a_wrong_way_is_named(label: str, doubt: str) -> None:
    assert doubt in doubts.find_label_doubts([label, "x"], 10)[0]
    assert doubts.find_label_doubts(["café", "日本", "naïve", "Ä", "\u00c3"], 10) == []
