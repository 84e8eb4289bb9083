"""docs/cost.md: its numbers follow from its formulas, its price and the published rates."""

import math
import re

import pytest

from benchmarks import fleet
from tests.support import ROOT

PAGE = (ROOT / "docs/cost.md").read_text(encoding="utf-8")
RESULTS = (ROOT / "benchmarks/results.md").read_text(encoding="utf-8").replace(",", "")
ROWS = re.findall(r"^\| ([^|]+) \| ([\d.,]+) \| ([\d.]+) \| ([\d.]+) \|$", PAGE, re.MULTILINE)
JOBS = re.findall(r"^\| ([^|]+) \| ([\d.]+) \| ([\d.]+) \|$", PAGE, re.MULTILINE)


def read(text: str) -> float:
    return float(text.replace(",", ""))


PRICE = read(re.findall(r"\*\*([\d.]+) dollars an hour", PAGE)[0])


def test_the_price_has_a_date_and_the_tables_have_rows() -> None:
    assert re.search(r"on \d+ \w+ 20\d\d, \*\*[\d.]+ dollars", PAGE)
    assert len(ROWS) >= 6
    assert len(JOBS) >= 2


@pytest.mark.parametrize(("what", "rate", "load", "dollars"), ROWS)
def test_a_million_predictions_cost_what_the_formula_says(
    what: str, rate: str, load: str, dollars: str
) -> None:
    cost = PRICE * 1_000_000 / (read(rate) * 3600 * read(load))

    assert read(dollars) == pytest.approx(cost, rel=0.05), what
    assert re.search(rf"(?<![\d.]){rate.replace(',', '')}(?![\d.])", RESULTS), what


@pytest.mark.parametrize(("what", "seconds", "dollars"), JOBS)
def test_a_training_costs_what_the_formula_says(what: str, seconds: str, dollars: str) -> None:
    assert read(dollars) == pytest.approx(PRICE * read(seconds) / 3600, rel=0.05), what
    assert seconds in RESULTS, what


def test_the_worked_examples_are_right() -> None:
    instances = 300 / (53.4 * 0.5)
    assert f"= {instances:.1f}, so 12 instances and {12 * 730 * PRICE:,.0f} dollars" in PAGE
    assert f"{2 * 730 * PRICE:.0f} dollars" in PAGE
    seconds = 100_000 * 30 / 8.8
    text = " ".join(PAGE.split())
    dollars, hours = PRICE * seconds / 3600, seconds / 3600
    assert f"{seconds:.0f}" == "340909"
    assert f"340,909 seconds, {dollars:.1f} dollars, and {hours:.0f} hours" in text


@pytest.mark.parametrize("times", [1, 90])
def test_the_fleets_are_those_of_the_simulation(times: int) -> None:
    assumed = fleet.Fleet(60 * 53.4, 0.5, 5, 2, 1000)
    day = [times * (9000 - 8700 * math.cos(2 * math.pi * m / 1440)) for m in range(1440)]
    end = "" if times == 1 else f", {times} times"

    for name, run in (("scaled", fleet.simulate), ("fixed at the peak", fleet.keep)):
        found = run(day, assumed)
        hours = found.instance_minutes / 60
        cells = f"{hours:.1f} | {PRICE * hours:.2f} | {found.largest} | {found.requests_too_many}"
        assert f"| {name}{end} | {cells} |" in PAGE
