"""docs/contract.md defines every cited clause, and names a test or a reason for each."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from local_test.conformance.catalog import CHECKS
from tests.support import ROOT

PAGE = ROOT / "docs/contract.md"
LEVELS = {"MUST", "SHOULD", "MAY", "PLATFORM"}
SCANNED = (".py", ".md", ".sh", ".toml", ".html", ".js", ".yml", ".yaml", ".c")
NO_CLAUSES = {"UTF-8", "UTF-16", "SHA-256", "AES-256", "AVX-512", "PSF-2", "XX-1"}
"""Words of the same form that are no clauses: encodings, algorithms, a license, a false check."""
SERVING = {"HO", "RQ", "ST", "MME", "PIP", "ASY", "SRV", "IC", "DC", "BT"}
"""Areas in which a named test must cite its clause."""

CLAUSE = re.compile(
    r"^- \*\*(?P<id>[A-Z]+-\d+)\*\* (?P<level>[A-Z]+)\. (?P<rule>.*?)\n"
    r"  - Source:\s+(?P<source>.*?)\n"
    r"  - (?P<kind>Tests|No test):\s+(?P<held_by>.*?)"
    r"(?:\n  - Checks:\s+(?P<checks>.*?))?(?=\n- |\n\n|\Z)",
    re.MULTILINE | re.DOTALL,
)
TEST = re.compile(r"^( *)def (test_\w+)\(.*?(?=^\1(?:def|@|class) |\Z)", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Clause:
    """One clause of the page."""

    level: str
    source: str
    tests: tuple[str, ...]
    reason: str
    checks: tuple[str, ...]


def read_clauses() -> dict[str, Clause]:
    clauses = {}
    for match in CLAUSE.finditer(PAGE.read_text(encoding="utf-8")):
        is_tested = match["kind"] == "Tests"
        clauses[match["id"]] = Clause(
            level=match["level"],
            source=match["source"],
            tests=tuple(re.findall(r"`([^`]+)`", match["held_by"])) if is_tested else (),
            reason="" if is_tested else match["held_by"],
            checks=tuple(re.findall(r"[A-Z]+-\d+[a-z]", match["checks"] or "")),
        )
    return clauses


CLAUSES = read_clauses()


def find_ids(text: str) -> set[str]:
    """Find the IDs that a text cites, with those inside of `HO-1 to HO-10` and `MME-1..6`."""
    cited = set(re.findall(r"\b[A-Z]{2,5}-\d+[a-z]?\b", text)) - NO_CLAUSES
    ranges = re.findall(r"\b([A-Z]{2,5})-(\d+)(?: to [A-Z]+-|\.\.)(\d+)", text)
    for area, first, last in ranges:
        cited |= {f"{area}-{number}" for number in range(int(first), int(last) + 1)}
    return cited


def list_files() -> Iterator[Path]:
    """List the files of the repository that may cite a clause."""
    yield from (path for path in ROOT.glob("*.*") if path.suffix in SCANNED)
    for folder in ("container", "local_test", "docker", "docs", "examples", "scripts", "tests"):
        yield from (path for path in (ROOT / folder).rglob("*") if path.suffix in SCANNED)


@cache
def list_tests() -> dict[str, str]:
    """Map the name of each test to its source."""
    return {
        match[2]: match[0]
        for path in (ROOT / "tests").rglob("test_*.py")
        for match in TEST.finditer(path.read_text(encoding="utf-8"))
    }


def test_every_clause_of_the_page_can_be_read() -> None:
    listed = re.findall(r"^- \*\*(.+?)\*\*", PAGE.read_text(encoding="utf-8"), re.MULTILINE)

    assert [name for name in listed if name not in LEVELS] == list(CLAUSES)
    assert {clause.level for clause in CLAUSES.values()} == LEVELS
    assert all(clause.source for clause in CLAUSES.values())


def test_every_id_that_is_cited_is_defined() -> None:
    undefined = {
        f"{path.relative_to(ROOT)}: {identity}"
        for path in list_files()
        for identity in find_ids(path.read_text(encoding="utf-8"))
        if identity not in CLAUSES and identity not in CHECKS
    }

    assert not undefined


def test_every_clause_is_used_unless_it_is_the_platforms_duty() -> None:
    used = {check.clause for check in CHECKS.values()}
    for path in list_files():
        if path != PAGE:
            used |= find_ids(path.read_text(encoding="utf-8"))

    unused = [name for name in CLAUSES if name not in used and CLAUSES[name].level != "PLATFORM"]
    assert not unused


@pytest.mark.parametrize("identity", CLAUSES)
def test_a_clause_has_tests_that_exist_or_a_reason(identity: str) -> None:
    clause, tests = CLAUSES[identity], list_tests()

    assert clause.tests or len(clause.reason) > 15
    paths = [name for name in clause.tests if "/" in name]
    names = [name for name in clause.tests if "/" not in name]
    assert not [path for path in paths if not (ROOT / path).is_file()]
    assert not [name for name in names if name not in tests], (
        "docs/contract.md names tests that do not exist; write their new names there"
    )
    if clause.tests and identity.split("-", maxsplit=1)[0] in SERVING:
        sources = [tests[name] for name in names]
        sources += [(ROOT / path).read_text(encoding="utf-8") for path in paths]
        assert identity in set().union(*map(find_ids, sources)), f"none cites {identity}"


def test_the_page_names_the_checks_of_each_clause() -> None:
    named = {name: list(clause.checks) for name, clause in CLAUSES.items() if clause.checks}
    expected: dict[str, list[str]] = {}
    for check in CHECKS.values():
        expected.setdefault(check.clause, []).append(check.id)

    assert named == expected


def test_the_table_of_checks_is_the_catalog() -> None:
    page = PAGE.read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([A-Z]+-\d+[a-z]) \| (\w+) \| (.*) \|$", page, re.MULTILINE)

    assert rows == [(check.id, check.severity, check.claim) for check in CHECKS.values()]
