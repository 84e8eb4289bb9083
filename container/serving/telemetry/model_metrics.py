"""What each model of a multi-model endpoint has done, for `/metrics`.

Such an endpoint has one worker, so the figures are its own. The lines of a model come with its load
and go with its unload.

Rules of this file: only models that are loaded have lines, and a model has a bounded number.
"""

import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from container.serving.exchange import CustomTotals

_HELP: Final = {
    "serving_model_load_seconds": ("gauge", "Time that a worker or a model's process took to load"),
    "serving_model_requests_total": ("counter", "Answers of a model, by status."),
    "serving_model_stage_seconds": ("summary", "Time of each stage of a model's invocations."),
    "serving_model_batch_requests": ("summary", "Requests of a model's predictions."),
    "serving_model_custom": ("summary", "Metrics of a model's handlers, by context.metrics."),
    "serving_model_custom_left_out_total": ("counter", "Values of metrics that have no place."),
}


@dataclass
class _Model:
    load_s: float
    statuses: Counter[int] = field(default_factory=Counter)
    stages: dict[str, tuple[float, float]] = field(default_factory=dict)
    batches: dict[str, tuple[float, float]] = field(default_factory=dict)
    custom: CustomTotals = CustomTotals()  # noqa: RUF009 - immutable


class ModelMetrics:
    """The figures of all models that are loaded. Thread-safe."""

    def __init__(self) -> None:
        self._models: dict[str, _Model] = {}
        self._lock = threading.Lock()

    def note_load(self, name: str, seconds: float) -> None:
        """Begin with a model that has been loaded."""
        with self._lock:
            self._models[name] = _Model(seconds)

    def forget(self, name: str) -> None:
        """Forget a model that has been unloaded."""
        with self._lock:
            self._models.pop(name, None)

    def observe(self, name: str, status: int, seconds: Mapping[str, float]) -> None:
        """Count an answer, and the seconds of each stage."""
        with self._lock:
            model = self._models.get(name)
            if model is not None:
                model.statuses[status] += 1
                for stage, stage_s in seconds.items():
                    _add(model.stages, stage, stage_s)

    def observe_batch(self, name: str, requests: int) -> None:
        """Count a prediction for so many requests."""
        with self._lock:
            model = self._models.get(name)
            if model is not None:
                _add(model.batches, "", requests)

    def show_custom(self, name: str, totals: CustomTotals) -> None:
        """Show the latest metrics of a model's handlers."""
        with self._lock:
            model = self._models.get(name)
            if model is not None and totals.time_s > model.custom.time_s:
                model.custom = totals

    def list_lines(self) -> Iterator[str]:
        """Yield the lines of the page; none without models."""
        with self._lock:
            lines: dict[str, list[str]] = {name: [] for name in _HELP}
            for name, model in sorted(self._models.items()):
                _add_lines(lines, f'model="{escape(name)}"', model)
        for name, (kind, text) in _HELP.items():
            if lines[name]:
                yield f"# HELP {name} {text}"
                yield f"# TYPE {name} {kind}"
                yield from lines[name]


def _add(sums: dict[str, tuple[float, float]], key: str, value: float) -> None:
    count, total = sums.get(key, (0.0, 0.0))
    sums[key] = (count + 1, total + value)


def _add_lines(lines: dict[str, list[str]], labels: str, model: _Model) -> None:
    key = "serving_model_load_seconds"
    lines[key].append(f"{key}{{{labels}}} {model.load_s:.6g}")
    key = "serving_model_requests_total"
    for status, count in sorted(model.statuses.items()):
        lines[key].append(f'{key}{{{labels},status="{status}"}} {count}')
    key = "serving_model_stage_seconds"
    lines[key].extend(_list_sums(key, labels, "stage", model.stages))
    key = "serving_model_batch_requests"
    lines[key].extend(_list_sums(key, labels, "", model.batches))
    key = "serving_model_custom"
    lines[key].extend(_list_sums(key, labels, "name", model.custom.values))
    if model.custom.left_out:
        key = "serving_model_custom_left_out_total"
        lines[key].append(f"{key}{{{labels}}} {model.custom.left_out:.0f}")


def _list_sums(
    name: str, labels: str, label: str, sums: Mapping[str, tuple[float, float]]
) -> Iterator[str]:
    for key, (count, total) in sorted(sums.items()):
        braces = f'{{{labels},{label}="{escape(key)}"}}' if label else f"{{{labels}}}"
        yield f"{name}_sum{braces} {total:.9g}"
        yield f"{name}_count{braces} {count:.0f}"


def escape(text: str) -> str:
    """Escape the value of a label."""
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
