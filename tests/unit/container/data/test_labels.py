"""Labels and the classes that they become."""

from __future__ import annotations

import codecs
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from container.data import labels, loading, sets

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
    assert [Decimal(text) for text in texts] == joined
    written: dict[int, set[str]] = {}
    for text, number in zip(texts, joined, strict=True):
        if "." not in text:
            written.setdefault(number, set()).add(text.lstrip("+"))
    assert all(len(forms) == 1 for forms in written.values())


@pytest.mark.parametrize(
    ("label", "names", "expected"),
    [
        ("7.0", {"7"}, "7"),
        ("7.0", {"7.0"}, "7.0"),
        ("007", {"007", "7"}, "007"),
        (" cat ", {"cat"}, "cat"),
        ("cafe\u0301", {"caf\u00e9"}, "caf\u00e9"),
        ("9007199254740993.0", {"9007199254740992"}, "9007199254740993.0"),
        ("1_0", {"10"}, "1_0"),
    ],
)
def test_a_label_of_another_set_is_written_as_the_classes_are(
    label: str, names: set[str], expected: str
) -> None:
    assert labels.canonical(label, names) == expected


def test_marks_between_joined_files_are_no_part_of_a_label(tmp_path: Path) -> None:
    rows = codecs.BOM_UTF8 + b"7,1,2,3,255\n8,1,2,3,255\n"
    (tmp_path / "joined.csv").write_bytes(rows + rows)
    loaded = loading.load(tmp_path)
    assert loaded.classes == (7, 8)
    assert loaded.labels.tolist() == [0, 1, 0, 1]


def test_labels_that_look_the_same_are_named(tmp_path: Path) -> None:
    rows = ["cat", "ca\u200bt", "c at", "dog", "-3", "3"] * 4
    (tmp_path / "a.csv").write_text("".join(f"{label},1,2,3,255\n" for label in rows))
    (doubt,) = sets.find_doubts(loading.load(tmp_path))
    assert doubt.startswith(r"'c at', 'cat', 'ca\u200bt' differ only in case, spaces or invisible")
