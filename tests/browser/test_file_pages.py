"""The pages that commands write as files, in a real browser: legible at every width."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from local_test.conformance import report
from local_test.conformance.catalog import CHECKS, Outcome, Verdict
from tests.browser.chromium import CHROMIUM, Browser
from tests.browser.legibility import find_faults

pytestmark = pytest.mark.skipif(not CHROMIUM, reason="the browser ring needs chromium on PATH")
IMAGE = "000000000000.dkr.ecr.us-east-1.amazonaws.com/an-image-with-a-long-name:2026-11-30"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("profile")) as found:
        yield found


def judge_all() -> list[Verdict]:
    """Return a verdict on each check: one in ten is violated."""
    outcomes: list[Outcome] = ["fail", *["pass"] * 8, "not applicable"]
    checks = enumerate(CHECKS.values())
    return [Verdict(check, outcomes[index % 10], "x" * 200) for index, check in checks]


@pytest.mark.parametrize("width", [390, 1280])
def test_the_conformance_page_shows_the_outcome_and_area_that_are_chosen(
    browser: Browser, tmp_path: Path, width: int
) -> None:
    (tmp_path / "page.html").write_text(report.format_html(IMAGE, judge_all()), encoding="utf-8")
    browser.errors.clear()
    browser.open(f"file://{tmp_path}/page.html", width)
    assert find_faults(browser) == []
    shown = (
        "[...document.querySelectorAll('.verdicts tbody tr')]"
        ".filter((row) => row.getClientRects().length).map((row) => row.className)"
    )
    assert len(browser.evaluate(shown)) == len(CHECKS)
    browser.evaluate("document.getElementById('outcome-must').click()")
    assert {name.split()[0] for name in browser.evaluate(shown)} == {"must"}
    browser.evaluate("document.getElementById('area-2').click()")
    assert set(browser.evaluate(shown)) == {"must area-2"}
    nothing = "document.querySelector('.none').getClientRects().length"
    assert browser.evaluate(nothing) == 0
    browser.evaluate("document.getElementById('area-9').click()")  # no MUST of it is violated
    assert browser.evaluate(shown) == []
    assert browser.evaluate(nothing) == 1
    assert browser.errors == []
