"""Metrics that user code names."""

from __future__ import annotations

import math

import pytest

from container.serving.telemetry.custom_metrics import NAMES_MAXIMUM, CustomMetrics


def test_values_are_added_up_over_the_workers() -> None:
    metrics = CustomMetrics(2)
    assert list(metrics.list_lines()) == []
    metrics.observe(0, "tokens", 3)
    metrics.observe(1, "tokens", 4.5)
    metrics.observe(1, "hits %", 1)
    lines = list(metrics.list_lines())
    assert 'serving_custom_sum{name="tokens"} 7.5' in lines
    assert 'serving_custom_count{name="tokens"} 2' in lines
    assert 'serving_custom_sum{name="hits %"} 1' in lines
    assert lines[-1] == "serving_custom_left_out_total 0"


def test_no_client_makes_the_page_grow_and_what_is_left_out_is_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    metrics = CustomMetrics(1)
    for number in range(NAMES_MAXIMUM + 5):
        metrics.observe(0, f"name {number}", 1)
    for name, value in (('a"b', 1), ("a\nb", 1), ("", 1), ("x" * 113, 1), ("nan", math.nan)):
        metrics.observe(0, name, value)
    lines = list(metrics.list_lines())
    assert sum(line.startswith("serving_custom_count") for line in lines) == NAMES_MAXIMUM
    assert lines[-1] == "serving_custom_left_out_total 10"
    assert caplog.text.count("left out of /metrics") == 1
