"""What the server has done, for Prometheus to scrape (HO-17).

Every worker counts in shared memory that all of them can read.

Rules of this file: a count survives the worker that made it; a label takes one of a few fixed
values, so that no client can make the page grow.
"""

import math
import mmap
import threading
from bisect import bisect_left
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Final, NamedTuple

from container.serving.telemetry.custom_metrics import CustomMetrics
from container.serving.telemetry.model_metrics import ModelMetrics, escape

STAGES: Final = ("decode", "predict", "encode", "request")
ERRORS: Final = {
    "refused": "the request is at fault",
    "failed": "the server or the model is at fault",
    "busy": "too many requests or bodies were waiting",
    "late": "the answer took too long",
    "unreadable": "it was not a complete HTTP request, too slow or too large",
    "gone": "the client left in the middle of its request or of the answer",
    "evicted": "the connection was closed to make room for another",
}
GAUGES: Final = {
    "serving_connections": "Open connections.",
    "serving_requests_in_flight": "Requests that are read, computed or answered.",
    "serving_queue_requests": "Requests that wait for a prediction to begin.",
}
_KINDS: Final = {500: "failed", 503: "busy"}  # of an answer's status; other errors are refusals
_STATUSES: Final = (200, 400, 404, 406, 413, 415, 500, 503)
_SECONDS: Final = (
    *(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05),
    *(0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60),
)
_IMAGES: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 10_000, 100_000)
_REQUESTS: Final = (1, 2, 4, 8, 16, 32, 64, 128)


# A worker's row: requests by status and of any other, errors by kind, lines of the log that were
# dropped, then the histograms. Each has its buckets, one beyond the last bound, and the sum.
_STATUS_COLUMNS: Final = {status: column for column, status in enumerate(_STATUSES)}
_OTHER_STATUS: Final = len(_STATUSES)
_ERROR_COLUMNS: Final = {kind: column for column, kind in enumerate(ERRORS, _OTHER_STATUS + 1)}
_DROPPED: Final = _OTHER_STATUS + 1 + len(ERRORS)
_BOUNDS: Final[dict[str, Sequence[float]]] = {
    **dict.fromkeys(STAGES, _SECONDS),
    "images": _IMAGES,
    "batch_requests": _REQUESTS,
}
_ENDS: Final = tuple(
    accumulate((len(bounds) + 2 for bounds in _BOUNDS.values()), initial=_DROPPED + 1)
)
_HISTOGRAMS: Final = {
    name: (start, bounds, start + len(bounds) + 1)
    for (name, bounds), start in zip(_BOUNDS.items(), _ENDS, strict=False)
}
"""First column, bounds, and column of the sum."""
_WIDTH: Final = _ENDS[-1]


class Invocation(NamedTuple):
    """What is counted of an invocation that has ended."""

    status: int
    seconds: Mapping[str, float]
    """Of each stage that it reached."""
    images: int = 0


class Metrics:
    """Counters of all workers, each of which writes to a row of its own. Thread-safe."""

    def __init__(self, workers: int, labels: Mapping[str, str]) -> None:
        """Create it in the master, before it forks; `labels` describe what is served."""
        self._values = memoryview(mmap.mmap(-1, 8 * _WIDTH * workers)).cast("d")
        self._gauges = memoryview(mmap.mmap(-1, 8 * len(GAUGES) * workers)).cast("d")
        self._load_s = memoryview(mmap.mmap(-1, 8 * workers)).cast("d")
        self.custom = CustomMetrics(workers)
        """Metrics of user code."""
        self.models = ModelMetrics()
        """Of a multi-model endpoint, which has one worker."""
        self._labels = dict(labels)
        self._lock = threading.Lock()
        self._row = 0
        self._start = 0  # of the row
        self.ended: deque[Invocation] = deque()
        """Invocations for `count_ended`; appending is all that a request pays for."""
        for row in range(workers):
            self.clear(row)

    def take(self, row: int) -> None:
        """Count in this row from now on; the master calls it before it forks a worker."""
        self._row = row
        self._start = row * _WIDTH

    def clear(self, row: int) -> None:
        """Forget the gauges of a worker that has ended; the master calls it."""
        self._show(row, (math.nan,) * len(GAUGES))

    def show(self, *values: float) -> None:
        """Set this worker's `GAUGES`."""
        self._show(self._row, values)

    def _show(self, row: int, values: Sequence[float]) -> None:
        for place, value in enumerate(values, start=row * len(GAUGES)):
            self._gauges[place] = value

    def note_load(self, seconds: float) -> None:
        """Note how long this worker has taken to load its model."""
        self._load_s[self._row] = seconds

    def observe_custom(self, name: str, value: float) -> None:
        """Count a metric of user code."""
        self.custom.observe(self._row, name, value)

    def count_ended(self) -> None:
        """Count the invocations that have ended; called once their answers have been sent."""
        with self._lock:
            while self.ended:
                status, seconds, images = self.ended.popleft()
                self._count_status(status)
                if status >= 400:
                    self._count_kind(_KINDS.get(status, "refused"))
                for stage, stage_s in seconds.items():
                    self._observe(stage, stage_s)
                if images:
                    self._observe("images", images)

    def count_batch(self, requests: int) -> None:
        """Count a prediction that was made for so many requests at once."""
        with self._lock:
            self._observe("batch_requests", requests)

    def count_error(self, kind: str, status: int = 0) -> None:
        """Count one of `ERRORS` that no application has seen, and the status of its answer."""
        with self._lock:
            self._count_kind(kind)
            if status:
                self._count_status(status)

    def count_dropped_line(self) -> None:
        """Count a line of the log that nobody read."""
        with self._lock:
            self._values[self._start + _DROPPED] += 1

    def _count_status(self, status: int) -> None:
        self._values[self._start + _STATUS_COLUMNS.get(status, _OTHER_STATUS)] += 1

    def _count_kind(self, kind: str) -> None:
        self._values[self._start + _ERROR_COLUMNS[kind]] += 1

    def _observe(self, name: str, value: float) -> None:
        values, row = self._values, self._start
        start, bounds, total = _HISTOGRAMS[name]
        values[row + start + bisect_left(bounds, value)] += 1
        values[row + total] += value

    def render(self) -> str:
        """Return the page, in Prometheus' text format."""
        self.count_ended()
        total = [sum(self._values[column::_WIDTH]) for column in range(_WIDTH)]
        return "\n".join(self._list_lines(total)) + "\n"

    def _list_lines(self, total: Sequence[float]) -> Iterator[str]:
        yield "# TYPE serving_info gauge"
        labels = ",".join(f'{name}="{escape(value)}"' for name, value in self._labels.items())
        yield f"serving_info{{{labels}}} 1"
        yield from _head(
            "serving_requests_total",
            "counter",
            "Answers to invocations, and refusals before one could be read, by status.",
        )
        for status, count in zip((*_STATUSES, "other"), total, strict=False):
            yield f'serving_requests_total{{status="{status}"}} {count:.0f}'
        kinds = "; ".join(f"{kind}: {text}" for kind, text in ERRORS.items())
        yield from _head("serving_errors_total", "counter", f"Failed requests, by kind: {kinds}")
        for kind, column in _ERROR_COLUMNS.items():
            yield f'serving_errors_total{{kind="{kind}"}} {total[column]:.0f}'
        name = "serving_log_lines_dropped_total"
        yield from _head(name, "counter", "Lines of the log that were dropped: nobody read it.")
        yield f"{name} {total[_DROPPED]:.0f}"
        for name, value in self._sum_gauges().items():
            yield from _head(name, "gauge", GAUGES.get(name, "Processes that serve."))
            yield f"{name} {value:.0f}"
        if any(self._load_s):
            name = "serving_model_load_seconds"
            yield from _head(name, "gauge", "Longest time that a worker took to load its model.")
            yield f"{name} {max(self._load_s):.6g}"
        yield from self.custom.list_lines()
        yield from self.models.list_lines()
        name = "serving_stage_seconds"
        yield from _head(name, "histogram", "Time of each stage of an invocation, and of all.")
        for stage in STAGES:
            yield from _list_histogram(name, stage, total, f'stage="{stage}"')
        name = "serving_batch_images"
        yield from _head(name, "histogram", "Images in an invocation.")
        yield from _list_histogram(name, "images", total)
        name = "serving_batch_requests"
        help_text = "Requests of a prediction, where several are predicted together."
        yield from _head(name, "histogram", help_text)
        yield from _list_histogram(name, "batch_requests", total)

    def _sum_gauges(self) -> dict[str, float]:
        """Sum what the event workers show."""
        values = self._gauges.tolist()
        rows = [values[start : start + len(GAUGES)] for start in range(0, len(values), len(GAUGES))]
        shown = [row for row in rows if not math.isnan(row[0])]
        if not shown:
            return {}
        sums = [sum(column) for column in zip(*shown, strict=True)]
        return {"serving_workers": len(shown), **dict(zip(GAUGES, sums, strict=True))}


def _head(name: str, kind: str, text: str) -> Iterator[str]:
    yield f"# HELP {name} {text}"
    yield f"# TYPE {name} {kind}"


def _list_histogram(name: str, key: str, total: Sequence[float], label: str = "") -> Iterator[str]:
    start, bounds, sum_column = _HISTOGRAMS[key]
    prefix = f"{label}," if label else ""
    braces = f"{{{label}}}" if label else ""
    count = 0.0
    for bound, value in zip((*bounds, "+Inf"), total[start:], strict=False):
        count += value
        yield f'{name}_bucket{{{prefix}le="{bound}"}} {count:.0f}'
    yield f"{name}_sum{braces} {total[sum_column]:.9g}"
    yield f"{name}_count{braces} {count:.0f}"
