"""Pages wrap at 100 columns, apart from tables, code and pictures."""

import re
from pathlib import Path

import pytest

from tests.support import ROOT

PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")] + [
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "examples").rglob("*.md")),
    ROOT / "local_test/README.md",
    ROOT / "benchmarks/results.md",
]
UNWRAPPED = re.compile(r"\||!\[| {4}|```")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_prose_wraps_at_100_columns(page: Path) -> None:
    prose = re.sub(r"^ *```.*?^ *```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    assert not [
        line for line in prose.splitlines() if len(line) > 100 and not UNWRAPPED.match(line)
    ]
