"""Metrics of a log line."""

from __future__ import annotations

import re

import pytest

from local_test import patterns
from local_test.jobs import result


@pytest.mark.parametrize(
    ("pattern", "line", "values"),
    [
        (r"loss=([0-9.]+);", "loss=0.5; loss=.25;", [0.5, 0.25]),
        (r"[0-9.]+", "1.5", [1.5]),
        (r"loss=(\S+)", "loss=low", []),
        (r"loss=([0-9.]+)?", "loss= loss=2", [2.0]),  # a group that matches nothing
    ],
)
def test_each_number_of_a_line_is_a_metric(pattern: str, line: str, values: list[float]) -> None:
    found = result.find_metrics(line, [("loss", re.compile(pattern))])
    assert [(metric.name, metric.value) for metric in found] == [("loss", v) for v in values]


def test_a_pattern_that_takes_too_long_is_left_out_and_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(patterns, "LIMIT_S", 0.5)
    definitions = [("x", re.compile("(a+)+$")), ("loss", re.compile(r"loss=(\S+)"))]
    notes: list[str] = []
    line = "loss=1 " + "a" * 40 + "!"
    for _ in range(2):
        [metric] = result.find_metrics(line, definitions, notes.append)
        assert metric.value == 1.0
    [note] = notes
    assert note.startswith("the metric 'x' has no values from here on: the pattern '(a+)+$' takes")
