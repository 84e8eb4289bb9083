"""The pages that commands write as files, in a real browser: legible at every width."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from container.data.images import LabeledImages
from container.evaluation import classification
from container.evaluation import report as evaluation
from local_test.cli.runs import comparison, page
from local_test.conformance import report
from local_test.conformance.catalog import CHECKS, Outcome, Verdict
from local_test.runs import run_files
from tests.browser.chromium import CHROMIUM, Browser
from tests.browser.legibility import find_faults
from tests.unit.local_test.cli.runs.made import make_job

pytestmark = pytest.mark.skipif(not CHROMIUM, reason="the browser ring needs chromium on PATH")
IMAGE = "000000000000.dkr.ecr.us-east-1.amazonaws.com/an-image-with-a-long-name:2026-11-30"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("profile")) as found:
        yield found


def show(browser: Browser, directory: Path, text: str, width: int) -> None:
    """Open a page, which must be legible."""
    (directory / "page.html").write_text(text, encoding="utf-8")
    browser.errors.clear()
    browser.open(f"file://{directory}/page.html", width)
    assert find_faults(browser) == []


def judge_all() -> list[Verdict]:
    """Return a verdict on each check: one in ten is violated."""
    outcomes: list[Outcome] = ["fail", *["pass"] * 8, "not applicable"]
    checks = enumerate(CHECKS.values())
    return [Verdict(check, outcomes[index % 10], "x" * 200) for index, check in checks]


@pytest.mark.parametrize("width", [390, 1280])
def test_the_conformance_page_shows_the_outcome_and_area_that_are_chosen(
    browser: Browser, tmp_path: Path, width: int
) -> None:
    show(browser, tmp_path, report.format_html(IMAGE, judge_all()), width)
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


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize(
    "classes",
    [
        tuple(range(10)),
        (
            "T-shirt/top",
            "<script>alert(1)</script>",
            "a name of many words, and then some",
            "x" * 90,
        ),
    ],
    ids=["digits", "long names"],
)
def test_the_report_of_an_evaluation_is_legible_and_shows_its_mistakes(
    browser: Browser, tmp_path: Path, classes: tuple[int | str, ...], width: int
) -> None:
    random = np.random.default_rng(3)
    labels = random.integers(0, len(classes), 300).astype(np.int32)
    scores = random.dirichlet(np.ones(len(classes)), 300) + np.eye(len(classes))[labels] / 3
    labeled = LabeledImages(random.integers(0, 256, (300, 8, 8, 1), np.uint8), labels, classes)
    history = [
        {"epoch": i, "train_loss": 1 / i, "validation_accuracy": 1 - 1 / i} for i in range(1, 9)
    ]
    background = evaluation.Background(history=history, facts={"A fact": "y" * 200})
    measured = classification.compute(labels, scores, len(classes))
    show(browser, tmp_path, evaluation.render(labeled, scores, measured, background), width)
    shown = "[...document.images].filter((image) => image.naturalWidth).length"
    assert browser.evaluate(shown) == 24
    assert browser.errors == []


@pytest.mark.parametrize("width", [390, 1280])
def test_the_comparison_of_runs_shows_only_what_differs_if_that_is_chosen(
    browser: Browser, tmp_path: Path, width: int
) -> None:
    measured = {"accuracy": 0.5, "classes": ["a", "b"], "confusion_matrix": [[90, 2], [3, 4]]}
    for index, name in enumerate(("first", "a-run-with-a-name-that-is-quite-long", "third")):
        make_job(
            tmp_path,
            name,
            parameters={"epochs": "3", "rate": f"0.{index}"},
            metrics={"loss": 0.5 - index},
            log="loss=0.7;\nloss=0.5;\n",
            measured=measured,
        )
    compared = comparison.compare(run_files.read_all(tmp_path))
    text = page.render(compared, "Comparison of 3 runs")
    show(browser, tmp_path, text, width)
    rows = (
        "[...document.querySelectorAll('.compared tbody tr')]"
        ".filter((row) => row.getClientRects().length).map((row) => row.className)"
    )
    assert set(browser.evaluate(rows)) == {"", "differs"}
    browser.evaluate("document.getElementById('only').click()")
    assert set(browser.evaluate(rows)) == {"differs"}
    assert browser.errors == []
