"""Metrics of a log line."""

from __future__ import annotations

import re

import pytest

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
