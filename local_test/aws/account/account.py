"""The account that the local AWS plays: its records, its logs, and what runs in it.

Rules of this file: it knows no operation and no kind of job; those know it.
"""

from __future__ import annotations

import collections
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from local_test.aws.account.logs import LogStore
from local_test.aws.account.meter import Meter
from local_test.aws.account.state import Store
from local_test.aws.protocol.messages import AwsError
from local_test.jobs.result import Metric
from local_test.runners.interface import Runner

INTERNAL_ERROR = "InternalServerError: We encountered an internal error. Please try again."
"""What the platform says of a job that it lost; here the local AWS was killed while the job ran."""


class Stoppable(Protocol):
    """A job that runs here."""

    def stop(self) -> None:
        """Stop it as the API's Stop operation does."""


class Account:
    """One account in one region, in one directory."""

    def __init__(
        self,
        directory: Path,
        choose_runner: Callable[[str], Runner],
        *,
        number: str,
        region: str,
        instances_maximum: int = 20,
    ) -> None:
        """`choose_runner` gives the runner for an image; `instances_maximum` is the quota of each usage."""
        self.directory = directory
        self.choose_runner = choose_runner
        self.number = number
        self.region = region
        self.instances_maximum = instances_maximum
        self.store = Store(directory / "state.sqlite")
        self.logs = LogStore(directory / "logs")
        self.metrics = MetricFiles(directory / "metrics")
        self.meters: dict[str, Meter] = {}
        """What counts the requests of each endpoint."""
        self.live: dict[tuple[str, str], Any] = {}
        """What runs now, by kind and name: jobs and endpoints of the harness."""
        self.publish_metrics: Callable[[str, list[dict[str, Any]]], None] = lambda namespace, data: (  # noqa: ARG005
            None
        )
        """Hands CloudWatch data over: namespace and `PutMetricData` entries."""
        self._changed = threading.Condition()
        self._change_count = 0
        self.is_closing = threading.Event()
        self._threads: set[threading.Thread] = set()
        self._lock = threading.Lock()

    def arn(self, kind: str, name: str) -> str:
        """Give the ARN of a resource; the service writes names in lower case."""
        return f"arn:aws:sagemaker:{self.region}:{self.number}:{kind}/{name.lower()}"

    def check_quota(self, usage: str, used: int, wanted: int) -> None:
        """Refuse more instances than the account may have.

        Raises: AwsError ResourceLimitExceeded.
        """
        if used + wanted > self.instances_maximum:
            message = (
                f"The account-level service limit '{usage}' is {self.instances_maximum} Instances, with current "
                f"utilization of {used} Instances and a request delta of {wanted} Instances. "
                "Here the limit is `up --max-instances`."
            )
            raise AwsError("ResourceLimitExceeded", message)

    def start_thread(self, label: str, target: Callable[[], None]) -> None:
        """Run `target` beside the requests; `close` waits for it."""

        def run() -> None:
            try:
                target()
            finally:
                with self._lock:
                    self._threads.discard(threading.current_thread())
                self.notify()

        thread = threading.Thread(target=run, name=label, daemon=True)
        with self._lock:
            self._threads.add(thread)
        thread.start()

    def notify(self) -> None:
        """Wake whoever waits for a change."""
        with self._changed:
            self._change_count += 1
            self._changed.notify_all()

    def change_count(self) -> int:
        """Give a number that grows with every change of a job, metric or endpoint."""
        with self._changed:
            return self._change_count

    def wait_for_change(self, seen: int, timeout_s: float) -> None:
        """Wait until the number is another than `seen`, so that no change is missed between two looks."""
        with self._changed:
            self._changed.wait_for(lambda: self._change_count != seen, timeout_s)

    def wait_for_threads(self, timeout_s: float) -> bool:
        """Wait until nothing runs beside the requests; False when the time was over first."""
        deadline = time.monotonic() + timeout_s
        while threads := self._list_threads():
            threads[0].join(max(0.0, deadline - time.monotonic()))
            if time.monotonic() >= deadline:
                return not self._list_threads()
        return True

    def _list_threads(self) -> list[threading.Thread]:
        with self._lock:
            return list(self._threads)


class MetricFiles:
    """The metrics that jobs printed: a file of JSON lines for each job."""

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
        """Give the last value of every metric since this process started."""
        with self._lock:
            return dict(self._last.get(job, {}))

    def read(self, job: str) -> Iterator[Metric]:
        """Give all values in the order of their printing; a line that a crash cut off is left out."""
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
