"""Labels and the classes that they become."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from container.data import labels

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
