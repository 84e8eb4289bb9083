"""What each model of a multi-model endpoint shows."""

from __future__ import annotations

from container.serving.exchange import CustomTotals
from container.serving.telemetry.model_metrics import ModelMetrics


def show(metrics: ModelMetrics) -> list[str]:
    return [line for line in metrics.list_lines() if line[0] != "#"]


def test_a_model_has_lines_from_its_load_to_its_unload() -> None:
    metrics = ModelMetrics()
    metrics.observe("a", 200, {"request": 1.0})
    assert show(metrics) == [], "it is not loaded"

    metrics.note_load("a", 1.5)
    metrics.note_load('b"\n', 2)
    metrics.observe("a", 200, {"predict": 0.25, "request": 0.5})
    metrics.observe("a", 200, {"predict": 0.5, "request": 1.0})
    metrics.observe("a", 503, {})
    metrics.observe_batch("a", 4)
    assert show(metrics) == [
        'serving_model_load_seconds{model="a"} 1.5',
        'serving_model_load_seconds{model="b\\"\\n"} 2',
        'serving_model_requests_total{model="a",status="200"} 2',
        'serving_model_requests_total{model="a",status="503"} 1',
        'serving_model_stage_seconds_sum{model="a",stage="predict"} 0.75',
        'serving_model_stage_seconds_count{model="a",stage="predict"} 2',
        'serving_model_stage_seconds_sum{model="a",stage="request"} 1.5',
        'serving_model_stage_seconds_count{model="a",stage="request"} 2',
        'serving_model_batch_requests_sum{model="a"} 4',
        'serving_model_batch_requests_count{model="a"} 1',
    ]
    metrics.forget("a")
    metrics.observe("a", 200, {"request": 1.0})
    assert show(metrics) == ['serving_model_load_seconds{model="b\\"\\n"} 2']


def test_the_latest_custom_metrics_are_shown() -> None:
    metrics = ModelMetrics()
    metrics.note_load("a", 1)
    metrics.show_custom("a", CustomTotals(2.0, {"rows": (3, 7)}, 1))
    metrics.show_custom("a", CustomTotals(1.0, {"rows": (2, 5)}, 0))  # overtaken on its way
    metrics.show_custom("gone", CustomTotals(1.0, {"rows": (2, 5)}, 0))
    assert show(metrics)[1:] == [
        'serving_model_custom_sum{model="a",name="rows"} 7',
        'serving_model_custom_count{model="a",name="rows"} 3',
        'serving_model_custom_left_out_total{model="a"} 1',
    ]
