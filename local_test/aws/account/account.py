"""One account of the local AWS: its records, its logs, and what runs in it.

Rules of this file: it knows no operation and no kind of job.
"""

import secrets
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from container.errors import name_command
from local_test.aws.account.logs import LogStore
from local_test.aws.account.meter import Meter
from local_test.aws.account.metric_files import MetricFiles
from local_test.aws.account.settings import Settings
from local_test.aws.account.store import Store
from local_test.aws.protocol.messages import AwsError
from local_test.aws.protocol.services import Services
from local_test.runners.interface import Runner


class Account:
    """One account in one region, in one directory."""

    def __init__(
        self,
        directory: Path,
        settings: Settings,
        store: Store,
        choose_runner: Callable[[str], Runner],
        services: Services,
    ) -> None:
        """`choose_runner` returns the runner of an image."""
        self.directory = directory
        self.number = settings.account
        self.region = settings.region
        self.store = store
        self.choose_runner = choose_runner
        self.publish_metrics = services.publish_metrics
        self.alarms = services.alarms
        self.notices = services.notices
        self.find_function = services.find_function
        self.runs_functions = settings.run_functions
        self.command = settings.command
        self.jobs_directory = Path(settings.jobs_directory or directory / "runs")
        self.logs = LogStore(directory / "logs")
        self.metrics = MetricFiles(directory / "metrics")
        self.run_metrics = MetricFiles(directory / "metrics/trial-components")
        self.live: dict[tuple[str, str], Any] = {}
        """The harness's running jobs and endpoints, by kind and name."""
        self.is_closing = threading.Event()
        self.session = secrets.token_urlsafe(24)
        """Says that a request comes from a page of this process's console."""
        self._max_instances = settings.max_instances
        self._meters: dict[str, Meter] = {}
        self._changed = threading.Condition()
        self._change_count = 0
        self._threads: set[threading.Thread] = set()
        self._lock = threading.Lock()

    def arn(self, kind: str, name: str) -> str:
        """Return the ARN of a resource; the service writes names in lower case."""
        return f"arn:aws:sagemaker:{self.region}:{self.number}:{kind}/{name.lower()}"

    def check_quota(self, usage: str, used: int, wanted: int) -> None:
        """Refuse more instances than the account may have.

        Raises: AwsError ResourceLimitExceeded.
        """
        if used + wanted > self._max_instances:
            message = (
                f"The account-level service limit '{usage}' is {self._max_instances} Instances, "
                f"with current utilization of {used} Instances and a request delta of {wanted} "
                f"Instances. Here `{name_command('up --max-instances')}` sets this limit."
            )
            raise AwsError("ResourceLimitExceeded", message)

    def meter(self, endpoint: str) -> Meter:
        """Return the meter of an endpoint's requests; a new endpoint gets a new one."""
        return self._meters.setdefault(endpoint, Meter())

    def component_meter(self, component: str) -> Meter:
        """Return the meter of an inference component's requests."""
        return self.meter(f"component/{component}")

    def drop_meter(self, endpoint: str) -> None:
        """Forget the requests of an endpoint, or `component/NAME`, that was deleted."""
        self._meters.pop(endpoint, None)

    def start_thread(self, label: str, target: Callable[[], None]) -> None:
        """Run `target` in a thread that `wait_for_threads` waits for."""

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
        """Wake every thread that waits for a change."""
        with self._changed:
            self._change_count += 1
            self._changed.notify_all()

    def change_count(self) -> int:
        """Return a number that grows with every change of a job, metric or endpoint."""
        with self._changed:
            return self._change_count

    def wait_for_change(self, seen: int, timeout_s: float) -> None:
        """Wait until `change_count` differs from `seen`, so that no change is missed."""
        with self._changed:
            self._changed.wait_for(lambda: self._change_count != seen, timeout_s)

    def wait_for_threads(self, timeout_s: float) -> bool:
        """Wait until no thread runs; return False if some still run after `timeout_s`."""
        deadline = time.monotonic() + timeout_s
        while threads := self._list_threads():
            threads[0].join(max(0.0, deadline - time.monotonic()))
            if time.monotonic() >= deadline:
                return not self._list_threads()
        return True

    def _list_threads(self) -> list[threading.Thread]:
        with self._lock:
            return list(self._threads)
