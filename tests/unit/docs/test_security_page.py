"""SECURITY.md: every statement names its tests, and they exist."""

import re
from functools import cache

import pytest

from tests.support import ROOT

PAGE = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
STATEMENTS = re.findall(r"^- (.*?)(?=^- |^\S|\n\n|\Z)", PAGE, re.MULTILINE | re.DOTALL)
PARTIES = ("invoker", "User code", "Models", "container", "Web pages", "Other users", "images")


@cache
def list_tests() -> frozenset[str]:
    """List the names of every test function."""
    found: set[str] = set()
    for path in (ROOT / "tests").rglob("*.py"):
        found.update(re.findall(r"^ *(?:async )?def (test_\w+)\(", path.read_text(), re.MULTILINE))
    return frozenset(found)


def test_each_party_has_a_section_with_statements() -> None:
    sections = re.split(r"^## ", PAGE, flags=re.MULTILINE)

    for party in PARTIES:
        assert any(party in text.partition("\n")[0] and "\n- " in text for text in sections), party
    assert any(text.startswith("Report a fault") for text in sections)
    assert len(STATEMENTS) == len(re.findall(r"^- ", PAGE, re.MULTILINE)) >= 20


@pytest.mark.parametrize("statement", STATEMENTS, ids=lambda text: text[:50])
def test_statement_names_tests_that_exist(statement: str) -> None:
    _, _, named = statement.partition("Tests: ")
    tests = re.findall(r"`(\w+)`", named)

    assert tests
    assert set(tests) <= list_tests()
