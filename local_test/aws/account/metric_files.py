"""The metrics that jobs printed or runs logged: one file of JSON lines for each."""

import collections
import json
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

from local_test.data.line_file import LineFile
from local_test.jobs.result import Metric


class MetricFiles:
    """The metrics of all jobs of one account; safe to use from any thread."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._lock = threading.Lock()
        self._last: dict[str, dict[str, Metric]] = collections.defaultdict(dict)

    def append(self, job: str, metric: Metric) -> bool:
        """Add a value; return whether it is on disk."""
        step = [] if metric.step is None else [metric.step]
        values = json.dumps([metric.name, metric.value, metric.time_s, *step])
        with self._lock:
            file = LineFile(self._path(job), lambda line: f"{line}\n".encode())
            is_kept = file.append(values)
            if not is_kept:
                print(f"a value of {metric.name} of job {job} is lost: disk full", file=sys.stderr)
            file.close()
            self._last[job][metric.name] = metric
        return is_kept

    def last(self, job: str) -> Mapping[str, Metric]:
        """Return the last value of every metric since this process started."""
        with self._lock:
            return dict(self._last.get(job, {}))

    def read(self, job: str) -> Iterator[Metric]:
        """Yield all values in the order they were printed, without a line that a crash cut off.

        Damaged lines are left out, and counted in the log.
        """
        try:
            lines = self._path(job).read_bytes().splitlines(keepends=True)
        except FileNotFoundError:
            return
        damaged = 0
        for line in lines:
            if line.endswith(b"\n"):
                try:
                    name, value, time_s, *step = json.loads(line)
                    yield Metric(str(name), float(value), float(time_s), *map(int, step))
                except (ValueError, TypeError, RecursionError):
                    damaged += 1
        if damaged:
            print(f"metrics of job {job}: {damaged} damaged line(s) left out", file=sys.stderr)

    def forget(self, job: str) -> None:
        """Remove the values of a job that starts again."""
        with self._lock:
            self._last.pop(job, None)
            self._path(job).unlink(missing_ok=True)

    def _path(self, job: str) -> Path:
        return self._directory / f"{job}.jsonl"
