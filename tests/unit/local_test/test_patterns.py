"""Patterns of users find what `re` finds, wherever they are searched."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local_test import patterns

PATTERNS = (
    *(r"loss=([0-9\.]+)", r"'eval_loss': ([0-9]+(.|e\-)[0-9]+),?", r".*x=(\S+)", "a|ab", "x"),
    *(r"host=\S+, train <loss>=(\S+)", r"(?i)LOSS", r"(?x) a b", r"(a)?b", r"\+\\a", "", "é+"),
)


@pytest.mark.parametrize("text", PATTERNS)
@given(lines=st.lists(st.text("axb=+\\.1é ") | st.sampled_from(PATTERNS)))
def test_every_match_is_found(text: str, lines: list[str]) -> None:
    pattern = re.compile(text)
    wanted = [[match[min(pattern.groups, 1)] for match in pattern.finditer(it)] for it in lines]
    assert patterns.find_all(pattern, lines) == wanted


def test_what_could_take_long_is_found_by_another_process() -> None:
    lines = ["a" * 9000 + "x=2.5", "\ud800x=1x=é", ""]
    found = patterns.find_all(re.compile(r".*x=(\S+)"), lines)
    assert found == [["2.5"], ["é"], []]
    assert patterns.find_all(re.compile("(?s)(.)?(a+)+$"), ["xaa", "b"]) == [["x"], []]


@pytest.mark.parametrize("text", ["(a+)+$", "(a|a)*$", r"(a*)*b", r"(?:a|aa)+$", "a*a*a*a*a*b"])
def test_a_search_that_takes_too_long_is_ended(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patterns, "LIMIT_S", 0.3)
    with pytest.raises(TimeoutError, match=r"takes more than 0\.3 s"):
        patterns.find_all(re.compile(text), ["a" * 2000 + "!"])
