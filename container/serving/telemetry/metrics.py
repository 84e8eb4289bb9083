"""What the server has done, counted by every worker in memory that all see, for Prometheus to scrape (HO-17).

Rules of this file: a count is kept for as long as the server runs, whatever becomes of the worker
that made it; a label takes one of a few fixed values, so that no client can make the page grow.
"""

from __future__ import annotations

import bisect
import math
import mmap
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

STAGES: Final = ("decode", "predict", "encode", "request")
ERRORS: Final = {
    "refused": "the request is at fault",
    "failed": "the server or the model is",
    "busy": "too many requests or bodies were there",
    "late": "the answer took too long",
    "unreadable": "it was no whole HTTP request, too slow or too large",
    "gone": "the client left in the middle of its request or of the answer",
}
GAUGES: Final = {
    "serving_connections": "Open connections.",
    "serving_requests_in_flight": "Requests that are read, computed or answered.",
    "serving_queue_requests": "Requests that wait for a prediction to begin.",
}
_STATUSES: Final = (200, 400, 404, 406, 413, 415, 500, 503)
SECONDS: Final = (
    0.0001,
    0.00025,
    0.0005,
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1,
    2.5,
    5,
    10,
    60,
)
_IMAGES: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 10_000, 100_000)
_REQUESTS: Final = (1, 2, 4, 8, 16, 32, 64, 128)

# A worker's row: requests by status and of any other, errors by kind, then a histogram for each
# stage, one of images and one of batched requests, each of its buckets, one beyond the last bound,
# and the sum.
_HISTOGRAM: Final = len(SECONDS) + 2
_ERRORS_START: Final = len(_STATUSES) + 1
_STAGES_START: Final = _ERRORS_START + len(ERRORS)
_IMAGES_START: Final = _STAGES_START + len(STAGES) * _HISTOGRAM
_REQUESTS_START: Final = _IMAGES_START + len(_IMAGES) + 2
_WIDTH: Final = _REQUESTS_START + len(_REQUESTS) + 2


class Totals(NamedTuple):
    """What has been counted so far, and the gauges as they are."""

    requests: Mapping[str, float]
    """By status."""
    errors: Mapping[str, float]
    """By kind."""
    request_seconds: Sequence[float]
    """Requests in each bucket of `SECONDS`, and beyond the last."""
    images: float
    gauges: Mapping[str, float]
    """Empty if no worker shows any."""


class Metrics:
    """Counters of all workers, each of which writes to a row of its own. Thread-safe."""

    def __init__(self, workers: int, labels: Mapping[str, str]) -> None:
        """Made by the master before it forks; `labels` describe what is served."""
        self._values = memoryview(mmap.mmap(-1, 8 * _WIDTH * workers)).cast("d")
        self._gauges = memoryview(mmap.mmap(-1, 8 * len(GAUGES) * workers)).cast("d")
        self._workers = workers
        self.labels = dict(labels)
        self._lock = threading.Lock()
        self._row = self._start = 0
        for row in range(workers):
            self.clear(row)

    def take(self, row: int) -> None:
        """Count in this row from now on; for the master, before it forks a worker."""
        self._row, self._start = row, row * _WIDTH

    def clear(self, row: int) -> None:
        """Forget the gauges of a worker that has ended; for the master."""
        self._show(row, (math.nan,) * len(GAUGES))

    def show(self, *values: float) -> None:
        """Show this worker's `GAUGES`."""
        self._show(self._row, values)

    def _show(self, row: int, values: Sequence[float]) -> None:
        for place, value in enumerate(values, start=row * len(GAUGES)):
            self._gauges[place] = value

    def count(self, status: int, seconds: Mapping[str, float], images: int) -> None:
        """Count a request: its status, the seconds of each stage that it reached, and its images if it has any."""
        start = self._start
        with self._lock:
            self._values[start + _find_status(status)] += 1
            if status >= 400:
                self._count_kind(
                    "failed" if status == 500 else "busy" if status == 503 else "refused"
                )
            for stage, stage_s in seconds.items():
                self._observe(
                    start + _STAGES_START + STAGES.index(stage) * _HISTOGRAM, SECONDS, stage_s
                )
            if images:
                self._observe(start + _IMAGES_START, _IMAGES, images)

    def count_batch(self, requests: int) -> None:
        """Count a prediction that was made for so many requests at once."""
        with self._lock:
            self._observe(self._start + _REQUESTS_START, _REQUESTS, requests)

    def count_error(self, kind: str, status: int = 0) -> None:
        """Count one of `ERRORS` that no application has seen, and the status that answered it, if any did."""
        with self._lock:
            self._count_kind(kind)
            if status:
                self._values[self._start + _find_status(status)] += 1

    def _count_kind(self, kind: str) -> None:
        self._values[self._start + _ERRORS_START + list(ERRORS).index(kind)] += 1

    def _observe(self, start: int, bounds: Sequence[float], value: float) -> None:
        self._values[start + bisect.bisect_left(bounds, value)] += 1
        self._values[start + len(bounds) + 1] += value

    def render(self) -> str:
        """Give the page, in Prometheus' text format."""
        return "\n".join(self._list_lines(self._sum())) + "\n"

    def _list_lines(self, total: Sequence[float]) -> Iterator[str]:
        yield "# TYPE serving_info gauge"
        labels = ",".join(f'{name}="{_escape(value)}"' for name, value in self.labels.items())
        yield f"serving_info{{{labels}}} 1"
        yield "# HELP serving_requests_total Answers to invocations, and refusals before one could be read, by status."
        yield "# TYPE serving_requests_total counter"
        for status, count in zip((*_STATUSES, "other"), total, strict=False):
            yield f'serving_requests_total{{status="{status}"}} {count:.0f}'
        yield "# HELP serving_errors_total Requests without a good answer: " + "; ".join(
            f"{kind}: {text}" for kind, text in ERRORS.items()
        )
        yield "# TYPE serving_errors_total counter"
        for kind, count in zip(ERRORS, total[_ERRORS_START:], strict=False):
            yield f'serving_errors_total{{kind="{kind}"}} {count:.0f}'
        for name, value in self._sum_gauges().items():
            yield f"# HELP {name} {GAUGES.get(name, 'Processes that serve.')}"
            yield f"# TYPE {name} gauge"
            yield f"{name} {value:.0f}"
        yield "# HELP serving_stage_seconds Time of each stage of an invocation, and of all of it."
        yield "# TYPE serving_stage_seconds histogram"
        for number, stage in enumerate(STAGES):
            start = _STAGES_START + number * _HISTOGRAM
            yield from _list_histogram(
                "serving_stage_seconds", f'stage="{stage}",', SECONDS, total[start:]
            )
        yield "# HELP serving_batch_images Images in an invocation."
        yield "# TYPE serving_batch_images histogram"
        yield from _list_histogram("serving_batch_images", "", _IMAGES, total[_IMAGES_START:])
        yield "# HELP serving_batch_requests Requests of a prediction, where BYO_BATCH_IMAGES batches them."
        yield "# TYPE serving_batch_requests histogram"
        yield from _list_histogram("serving_batch_requests", "", _REQUESTS, total[_REQUESTS_START:])

    def read(self) -> Totals:
        """Give the totals of all workers."""
        total = self._sum()
        start = _STAGES_START + STAGES.index("request") * _HISTOGRAM
        return Totals(
            requests=dict(zip((*map(str, _STATUSES), "other"), total, strict=False)),
            errors=dict(zip(ERRORS, total[_ERRORS_START:], strict=False)),
            request_seconds=total[start : start + len(SECONDS) + 1],
            images=total[_IMAGES_START + len(_IMAGES) + 1],
            gauges=self._sum_gauges(),
        )

    def _sum(self) -> list[float]:
        return [sum(self._values[column::_WIDTH]) for column in range(_WIDTH)]

    def _sum_gauges(self) -> dict[str, float]:
        """Sum what the workers show; one that shows nothing does not serve, or is none of ours."""
        values, width = self._gauges.tolist(), len(GAUGES)
        rows = [values[start : start + width] for start in range(0, len(values), width)]
        shown = [row for row in rows if not math.isnan(row[0])]
        sums = {
            name: float(sum(column))
            for name, column in zip(GAUGES, zip(*shown, strict=True), strict=False)
        }
        return {"serving_workers": float(len(shown)), **sums} if shown else {}


def _find_status(status: int) -> int:
    return _STATUSES.index(status) if status in _STATUSES else len(_STATUSES)


def _list_histogram(
    name: str, label: str, bounds: Sequence[float], values: Sequence[float]
) -> Iterator[str]:
    count = 0.0
    for bound, value in zip((*map(str, bounds), "+Inf"), values, strict=False):
        count += value
        yield f'{name}_bucket{{{label}le="{bound}"}} {count:.0f}'
    braces = f"{{{label.rstrip(',')}}}" if label else ""
    yield f"{name}_sum{braces} {values[len(bounds) + 1]:.9g}"
    yield f"{name}_count{braces} {count:.0f}"


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
