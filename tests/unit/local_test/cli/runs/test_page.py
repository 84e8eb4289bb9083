"""The page of a comparison loads nothing, escapes everything, and overlays the curves."""

from __future__ import annotations

import html.parser
import re
from pathlib import Path

import pytest

from local_test.cli.runs import comparison, page
from local_test.runs import run_files
from tests.unit.local_test.cli.runs.made import make_job


class Checker(html.parser.HTMLParser):
    """Checks that tags are closed, and collects what would be loaded."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loaded: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        """Collect what the tag would load."""
        self.loaded += [str(value) for name, value in attributes if name in ("src", "href")]
        if tag not in ("meta", "input", "br", "line", "polyline", "circle"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """Check that the tag closes the one that was opened last."""
        if tag not in ("line", "polyline", "circle"):
            assert self.open.pop() == tag


def render(jobs: Path) -> str:
    runs = sorted(run_files.read_all(jobs), key=lambda run: run.name)
    return page.render(comparison.compare(runs), "Comparison")


def test_the_curves_of_all_runs_are_in_one_chart(tmp_path: Path) -> None:
    make_job(tmp_path, "a", log="loss=1;\nloss=0;\n")
    make_job(tmp_path, "b", log="loss=0.5;\n")

    text = render(tmp_path)

    [first, second] = re.findall(r'<polyline class="(c\d) [^"]*" [^>]*points="([^"]*)"', text)
    assert first == ("c0", "0.0,0.0 480.0,200.0")
    assert second == ("c1", "0.0,100.0")
    assert text.count('<circle class="c1"') == 1  # a single value is a point


def test_the_words_of_a_run_are_escaped_and_nothing_is_loaded(tmp_path: Path) -> None:
    bad = "<script>alert(1)</script>"
    measured = {"accuracy": 0.5, "classes": [bad, "b"], "confusion_matrix": [[1, 2], [3, 4]]}
    definitions = [{"Name": bad, "Regex": "loss=(.*)"}]
    job = make_job(
        tmp_path,
        "a",
        parameters={bad: bad},
        metrics={bad: 1},
        definitions=definitions,
        log="loss=1\n",
        measured=measured,
    )
    assert job.is_dir()
    make_job(tmp_path, "b", definitions=[])

    text = render(tmp_path)
    checker = Checker()
    checker.feed(text)

    assert "<script" not in text
    assert (checker.loaded, checker.open) == ([], [])
    assert "default-src 'none'" in text
    assert "no metric definitions" in text
    assert "5 of 10 wrong" in text


def test_a_long_curve_keeps_its_last_value() -> None:
    line = [(float(x), 1.0) for x in range(10_000)]

    chart = page.draw("loss", [line])

    assert chart is not None
    places = chart["curves"][0]["places"]
    assert len(places) <= 402
    assert places[-1][0] == 480


@pytest.mark.parametrize(
    ("low", "high"), [(0, 1), (0.1, 0.100000001), (-3, 1e6), (0, 0), (5, 5), (1e-9, 2e-9)]
)
def test_ticks_enclose_the_values(low: float, high: float) -> None:
    ticks = page.choose_ticks(low, high)
    assert ticks[0] <= low
    assert ticks[-1] >= high
    assert 2 <= len(ticks) <= 7
