"""The metrics that jobs printed: one file of JSON lines for each job."""

from __future__ import annotations

import collections
import json
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

from local_test.jobs.result import Metric


class MetricFiles:
    """The metrics of all jobs of one account; safe to use from any thread."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._lock = threading.Lock()
        self._last: dict[str, dict[str, Metric]] = collections.defaultdict(dict)

    def append(self, job: str, metric: Metric) -> None:
        """Add a value."""
        with self._lock:
            self._directory.mkdir(parents=True, exist_ok=True)
            with self._path(job).open("a", encoding="utf-8") as file:
                print(json.dumps([metric.name, metric.value, metric.time_s]), file=file)
            self._last[job][metric.name] = metric

    def last(self, job: str) -> Mapping[str, Metric]:
        """Return the last value of every metric since this process started."""
        with self._lock:
            return dict(self._last.get(job, {}))

    def read(self, job: str) -> Iterator[Metric]:
        """Yield all values in the order they were printed, without a line that a crash cut off."""
        try:
            text = self._path(job).read_text(encoding="utf-8")
        except FileNotFoundError:
            return
        for line in text.splitlines(keepends=True):
            if line.endswith("\n"):
                yield Metric(*json.loads(line))

    def forget(self, job: str) -> None:
        """Remove the values of a job that starts again."""
        with self._lock:
            self._last.pop(job, None)
            self._path(job).unlink(missing_ok=True)

    def _path(self, job: str) -> Path:
        return self._directory / f"{job}.jsonl"
