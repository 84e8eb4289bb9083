"""The metrics: what is counted, and the page that Prometheus scrapes."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from container.serving import inference
from container.serving.app import create_app
from container.serving.exchange import Request, Response
from container.serving.telemetry.metrics import Metrics
from tests.support import ROOT

ROW = b"0,0,0,200"


def predict_alike(images: Any) -> Any:
    return np.full((len(images), 4), 0.25, np.float32)


def make(metrics: Metrics, predict: Any = predict_alike) -> inference.Inference:
    return inference.Inference(
        predict, input_shape=(1, 4, 1), classes=("a", "b", "c", "d"), metrics=metrics
    )


def invoke(model: inference.Inference, body: bytes = ROW, **headers: str) -> Response:
    return model.invoke(Request(body, {"content-type": "text/csv", **headers}))


def test_metrics_of_every_worker_are_summed_for_prometheus() -> None:
    """HO-17."""
    metrics = Metrics(workers=2, labels={"toolkit": '1"0'})
    model = make(metrics)
    client = create_app(model, metrics=metrics).test_client()
    for row in (0, 1):
        metrics.take(row)
        invoke(model, ROW + b"\n" + ROW)
    invoke(model, b"")

    page = client.get("/metrics")

    lines = dict(line.rsplit(" ", 1) for line in page.text.splitlines() if not line.startswith("#"))
    assert page.content_type == "text/plain; version=0.0.4"
    assert lines['serving_info{toolkit="1\\"0"}'] == "1"
    assert lines['serving_requests_total{status="200"}'] == "2"
    assert lines['serving_requests_total{status="400"}'] == "1"
    assert lines['serving_batch_images_bucket{le="1"}'] == "0"
    assert lines['serving_batch_images_bucket{le="2"}'] == "2"
    assert lines["serving_batch_images_sum"] == "4"
    assert lines['serving_stage_seconds_count{stage="predict"}'] == "2"
    assert lines['serving_stage_seconds_count{stage="request"}'] == "3"
    assert lines['serving_stage_seconds_bucket{stage="request",le="+Inf"}'] == "3"
    assert float(lines['serving_stage_seconds_sum{stage="request"}']) > 0
    assert lines['serving_errors_total{kind="refused"}'] == "1"
    assert lines['serving_errors_total{kind="failed"}'] == "0"


def test_errors_are_counted_by_kind_and_what_never_reached_the_model_as_well() -> None:
    metrics = Metrics(workers=1, labels={})

    def fail(_: Any) -> Any:
        raise KeyError

    assert invoke(make(metrics, fail)).status == 500
    assert invoke(make(metrics), accept="image/png").status == 406
    metrics.count_error("busy", 503)
    metrics.count_error("gone")

    page = metrics.render()
    for kind, count in {
        "failed": 1,
        "refused": 1,
        "busy": 1,
        "gone": 1,
        "late": 0,
        "unreadable": 0,
    }.items():
        assert f'serving_errors_total{{kind="{kind}"}} {count}\n' in page
    for status in (406, 500, 503):
        assert f'serving_requests_total{{status="{status}"}} 1\n' in page


def test_gauges_are_summed_over_the_workers_that_live() -> None:
    metrics = Metrics(workers=3, labels={})
    assert "gauge" not in metrics.render().partition("serving_requests_total")[2]
    for row in (0, 1):
        metrics.take(row)
        metrics.show(10, 4, 2)

    assert "serving_workers 2\n" in metrics.render()
    assert "serving_connections 20\n" in metrics.render()
    assert "serving_requests_in_flight 8\n" in metrics.render()
    assert "serving_queue_requests 4\n" in metrics.render()

    metrics.clear(0)
    assert "serving_workers 1\n" in metrics.render()
    assert "serving_connections 10\n" in metrics.render()


def test_every_metric_is_in_the_documentation() -> None:
    metrics = Metrics(workers=1, labels={})
    metrics.show(0, 0, 0)
    documented = (ROOT / "docs/serving.md").read_text()

    for name in re.findall(r"^# TYPE (\w+) ", metrics.render(), re.MULTILINE):
        assert f"| `{name}` |" in documented, name
    for kind in ("refused", "failed", "busy", "late", "unreadable", "gone"):
        assert f"`{kind}`" in documented


def test_dropped_lines_of_the_log_are_counted_for_all_workers() -> None:
    metrics = Metrics(2, {})
    for row in range(2):
        metrics.take(row)
        metrics.count_dropped_line()

    assert "\nserving_log_lines_dropped_total 2\n" in metrics.render()
