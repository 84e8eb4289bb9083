"""Labels and the classes that they become."""

from __future__ import annotations

import codecs
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from container.data import doubts, labels, loading
from container.data.formats.parts import Options
from container.errors import UserError

NUMBERS = st.integers(-(2**63), 2**63 - 1)


@given(st.lists(NUMBERS | st.integers(-12, 12), min_size=1), st.integers(0, 5))
def test_integers_stay_what_they_are_in_every_part(numbers: list[int], cut: int) -> None:
    parts = [np.array(numbers[:cut], np.int64), list(map(str, numbers[cut:]))]
    assert labels.join(parts).tolist() == numbers


@given(st.lists(st.from_regex(r"[+-]?0{0,2}[0-9]{1,20}(\.0)?|[a-c]", fullmatch=True), min_size=1))
def test_texts_become_one_class_only_if_they_are_one_number(texts: list[str]) -> None:
    joined = labels.join([texts]).tolist()
    if isinstance(joined[0], str):
        assert joined == texts
        return
    for text, number in zip(texts, joined, strict=True):
        assert Decimal(text) == number
        assert "." in text or text.lstrip("+") == str(number)  # the name of a class stays as it is


@pytest.mark.parametrize(
    ("label", "classes", "expected"),
    [
        ("7", (7, 8), 7),
        (7, (7, 8), 7),
        (7, ("7", "cat"), "7"),
        ("7.0", (7, 8), 7),
        ("+7", (7, 8), 7),
        ("07", (7, 8), 7),
        (" 7\u00a0", (7, 8), 7),
        ("07", ("007", "7"), None),
        ("7.0", ("007", "7"), None),
        ("7.0", ("7", "cat"), None),
        ("7.0", ("7.0", "cat"), "7.0"),
        ("1.0", ("1.5", "2"), None),
        ("007", ("007", "7"), "007"),
        (" cat ", ("cat", "dog"), "cat"),
        ("Cat", ("cat", "dog"), None),
        ("c at", ("cat", "dog"), None),
        ("True", ("false", "true"), None),
        ("True", (0, 1), None),
        ("cafe\u0301", ("caf\u00e9", "dog"), "caf\u00e9"),
        ("\uff41", ("a", "b"), None),
        ("9007199254740993.0", (9007199254740992, 7), None),
        ("1_0", (10, 7), None),
        ("1e1", (10, 7), 10),
        ("", (10, 7), None),
    ],
)
def test_a_label_of_another_set_is_one_of_the_classes_or_none(
    label: str | int, classes: tuple[str | int, ...], expected: str | int | None
) -> None:
    index = labels.Names(classes).find(label)
    assert (None if index < 0 else classes[index]) == expected


SPELLINGS = ("7", "07", "007", "+7", "7.0", "-7", "8", "08", "8.0", "cat", "Cat", " cat", "7 ")


@given(
    st.lists(st.sampled_from(SPELLINGS), min_size=1),
    st.lists(st.sampled_from(SPELLINGS), max_size=9),
)
def test_labels_that_training_keeps_apart_are_not_one_class_elsewhere(
    trained: list[str], others: list[str]
) -> None:
    cleaned = list(map(labels.clean, trained))
    classes = tuple(np.unique(labels.join([cleaned])).tolist())
    names = labels.Names(classes)
    try:
        found = names.find_all(others)
    except ValueError as error:
        assert "but are two classes where both are in a training set" in str(error)  # noqa: PT017 - or none
        assert all(isinstance(name, int) for name in classes)
        return
    for label, index in zip(others, found, strict=True):
        text = labels.clean(label)
        if index < 0:
            assert text not in cleaned
        elif isinstance(classes[index], int):
            assert Decimal(text) == classes[index]
        else:
            assert text == classes[index]
    written: dict[int, set[str]] = {}
    for label, index in zip(others, found, strict=True):
        if index >= 0 and "." not in label:
            written.setdefault(index, set()).add(labels.clean(label).lstrip("+"))
    assert all(len(forms) == 1 for forms in written.values())


@pytest.mark.parametrize(
    ("rows", "classes", "reason"),
    [
        (
            ["07"],
            ("007", "7"),
            "row 1: the label is not one of the 2 classes 007, 7; unknown.*'07'",
        ),
        (["7", "8", "07"], (7, 8), "'07' and '7' would both be class 7"),
        (["7.5"], (7, 8), "unknown labels: '7.5'"),
    ],
)
def test_a_label_that_is_written_in_another_way_is_refused_in_a_test_set(
    rows: list[str], classes: tuple[str | int, ...], reason: str, tmp_path: Path
) -> None:
    (tmp_path / "a.csv").write_text("".join(f"{label},1,2,3,255\n" for label in rows))
    with pytest.raises(UserError, match=reason):
        loading.load(tmp_path, Options(classes=classes))


def test_labels_of_two_files_are_compared(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("7,1,2,3,255\n")
    (tmp_path / "b.csv").write_text("007,1,2,3,255\n")
    with pytest.raises(UserError, match=r"b\.csv, row 1.*'7' and '007' would both be class 7"):
        loading.load(tmp_path, Options(classes=(7, 8)))


def test_marks_between_joined_files_are_no_part_of_a_label(tmp_path: Path) -> None:
    rows = codecs.BOM_UTF8 + b"7,1,2,3,255\n8,1,2,3,255\n"
    (tmp_path / "joined.csv").write_bytes(rows + rows)
    loaded = loading.load(tmp_path)
    assert loaded.classes == (7, 8)
    assert loaded.labels.tolist() == [0, 1, 0, 1]


def test_labels_that_look_the_same_are_named(tmp_path: Path) -> None:
    rows = ["cat", "ca\u200bt", "c at", "dog", "-3", "3"] * 4
    (tmp_path / "a.csv").write_text("".join(f"{label},1,2,3,255\n" for label in rows))
    loaded = loading.load(tmp_path)
    (doubt,) = doubts.find_label_doubts(loaded.classes, len(loaded.labels))
    assert doubt.startswith(r"'c at', 'cat', 'ca\u200bt' differ only in case, spaces or invisible")


@pytest.mark.parametrize(
    ("rows", "classes", "notes"),
    [
        (["007", "8"], None, ()),
        (["-0", "8"], None, ()),
        (["--5", "\u0661"], None, ()),
        (["7.0", "8"], None, ("all labels are whole numbers, so '7.0' is class 7",)),
        (["7", "8"], None, ()),
        (["007", "cat"], None, ()),
        (["07", "8.0"], (7, 8), ("the label '07' is taken as class 7",)),
        ([" cat", "dog"], ("cat", "dog"), ()),
    ],
)
def test_numbers_that_their_class_writes_in_another_way_are_said(
    rows: list[str], classes: tuple[str | int, ...] | None, notes: tuple[str, ...], tmp_path: Path
) -> None:
    lines = [f"{label},1,2,{row},255\n" for row, label in enumerate(rows)]
    (tmp_path / "a.csv").write_text("".join(lines))
    loaded = loading.load(tmp_path, Options(classes=classes))
    assert loaded.notes == notes
    if not notes:
        assert [str(loaded.classes[index]) for index in loaded.labels] == list(map(str.strip, rows))
