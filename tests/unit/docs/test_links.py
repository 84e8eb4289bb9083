"""The index of the documentation is complete, and no link of a page is broken."""

import re
from pathlib import Path

import pytest

from tests.support import ROOT

DOCS = ROOT / "docs"
PAGES = [*sorted(DOCS.glob("*.md")), *sorted(ROOT.glob("*.md")), ROOT / "local_test/README.md"]
LINK = re.compile(r"\]\(([^)\s]+)\)")


def find_headings(page: Path) -> set[str]:
    """Find the anchors of a page's headings."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_every_page_is_in_the_index() -> None:
    linked = set(LINK.findall((DOCS / "README.md").read_text(encoding="utf-8")))

    assert {page.name for page in DOCS.glob("*.md")} - {"README.md"} <= linked


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for link in LINK.findall(page.read_text(encoding="utf-8")):
        if "://" in link or link.startswith("mailto:"):
            continue
        place, _, anchor = link.partition("#")
        target = (page.parent / place).resolve() if place else page
        assert target.exists(), link
        if anchor and target.suffix == ".md":
            assert anchor in find_headings(target), link


ENDLESS = {"README.md", "decisions.md", "hyperparameters.md"} | {
    "local-sagemaker-fields.md",
    "local-sagemaker-operations.md",
}
"""The index, a log that grows at its end, and three tables that commands print."""


@pytest.mark.parametrize("name", sorted({page.name for page in DOCS.glob("*.md")} - ENDLESS))
def test_a_page_says_where_to_go_next(name: str) -> None:
    *_, last = (DOCS / name).read_text(encoding="utf-8").strip().split("\n\n")

    assert last.startswith("Where next: ")
    assert LINK.search(last)
