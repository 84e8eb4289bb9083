"""docs/serving-contract.md: every rule of hosting and transform stands there, with tests that exist and cite it."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RULES = [
    *(f"HO-{number}" for number in range(1, 18)),
    *(f"RQ-{number}" for number in range(1, 9)),
    *("ST-1", "ST-2", "BI-1", "BI-2", "SE-1", "AD-1"),
    *(f"MME-{number}" for number in range(1, 7)),
    *("PIP-1", "ASY-1", "SRV-1", "IC-1", "DC-1", "12"),
    *(f"BT-{number}" for number in range(1, 15)),
]
ROW = re.compile(r"^\| ([^|]+) \| [^|]+ \| ([^|]+) \|$", re.MULTILINE)
TEST = re.compile(r"^( *)def (test_\w+)\(.*?(?=^\1(?:def|@|class) |\Z)", re.MULTILINE | re.DOTALL)


def list_rules(source: str) -> set[str]:
    """List the rules that a test cites, those of a range among them."""
    cited = set(re.findall(r"\b[A-Z]+-\d+\b", source))
    for family, first, last in re.findall(r"\b([A-Z]+)-(\d+) to [A-Z]+-(\d+)", source):
        cited |= {f"{family}-{number}" for number in range(int(first), int(last) + 1)}
    return cited


def list_rows() -> dict[str, str]:
    """Give what each rule is held by; a row may stand for several, as `BT-3, BT-4` or `MME-1 to MME-6`."""
    rows = {}
    for names, held_by in ROW.findall((ROOT / "docs/serving-contract.md").read_text()):
        for name in names.split(", "):
            first, _, last = name.partition(" to ")
            family, _, number = first.partition("-")
            end = int(last.partition("-")[2] or number or 0)
            for each in range(int(number), end + 1) if number.isdigit() else [first]:
                rows[f"{family}-{each}" if number.isdigit() else first] = held_by
    return rows


def list_tests() -> dict[str, str]:
    """Give the source of each test."""
    return {
        match[2]: match[0]
        for path in (ROOT / "tests").rglob("test_*.py")
        for match in TEST.finditer(path.read_text(encoding="utf-8"))
    }


@pytest.mark.parametrize("rule", RULES)
def test_rule_has_a_test_that_exists_and_cites_it_or_a_reason(rule: str) -> None:
    held_by, tests = list_rows()[rule], list_tests()
    cited = re.findall(r"`(test_\w+)`", held_by)
    sources = {
        name: [source for found, source in tests.items() if found.startswith(name)]
        for name in cited
    }
    assert all(sources.values()), [name for name, found in sources.items() if not found]
    if cited:
        found_rules = {
            each for found in sources.values() for source in found for each in list_rules(source)
        }
        assert rule == "12" or rule in found_rules, f"{cited}: none cites {rule}"
    else:
        assert "Why not: " in held_by, held_by
