"""One run at a tracking server: parameters first, then metrics, at the end files and status.

A run that cannot be created fails the job before it starts. What cannot be sent later is counted
and reported, and never fails a training.
"""

import queue
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final

from container import artifact
from container.training.tracking.metric_lines import Value
from container.user_packages.masking import is_secret, mask

_BATCH_METRICS: Final = 1000  # the limit of MLflow, as the next
_VALUE_CHARACTERS: Final = 6000
_INTERVAL_S: Final = 1.0
_END_WAIT_S: Final = 30.0  # a job that has ended costs money


class RecordedRun(ABC):
    """A run that has been created; `log` may be called from one thread, `end` is called once."""

    server: ClassVar[str]
    """What people call the kind of server."""

    def __init__(self, title: str) -> None:
        """Start to send what `log` queues; `title` says where people find the run."""
        self.title = title
        self.failures: list[str] = []
        """What could not be sent, in words."""
        self._values: queue.SimpleQueue[tuple[Value, int] | None] = queue.SimpleQueue()
        self._lost = 0
        self._sender = threading.Thread(target=self._send_all, daemon=True, name=self.server)
        self._sender.start()

    @abstractmethod
    def send_parameters(self, parameters: Mapping[str, str]) -> None:
        """Send parameters, whose secrets are hidden."""

    @abstractmethod
    def send(self, items: Sequence[tuple[Value, int]]) -> None:
        """Send values, each with the milliseconds since the epoch at which it was logged."""

    @abstractmethod
    def upload(self, directory: Path, name: str, manifest: artifact.Manifest | None) -> None:
        """Upload a directory: the model, with its manifest if it is the bundled network, or not."""

    @abstractmethod
    def close(self, status: str) -> None:
        """Close the run as FINISHED, FAILED or KILLED."""

    def log_parameters(self, parameters: Mapping[str, str]) -> None:
        """Send parameters; secrets are hidden, and what is too long is cut."""
        shown = {
            name: "***" if is_secret(name) else mask(value)[:_VALUE_CHARACTERS]
            for name, value in parameters.items()
        }
        self.attempt("parameters", self.send_parameters, shown)

    def log_files(
        self, directory: Path, name: str, manifest: artifact.Manifest | None = None
    ) -> None:
        """Upload a directory, if it holds anything."""
        if directory.is_dir() and any(directory.iterdir()):
            self.attempt(name, self.upload, directory, name, manifest)

    def log(self, values: Sequence[Value]) -> None:
        """Queue values; a slow server never holds up the job."""
        now_ms = int(time.time() * 1000)
        for value in values:
            self._values.put((value, now_ms))

    def end(self, status: str) -> None:
        """Send what is queued, and close the run."""
        self._values.put(None)
        self._sender.join(_END_WAIT_S)
        if self._sender.is_alive():
            self.failures.append("metrics: the server did not take them in time")
        elif self._lost:
            self.failures.append(f"metrics: {self._lost} values were not taken")
        self.attempt("status", self.close, status)

    def attempt(self, what: str, call: Callable[..., Any], *arguments: Any) -> bool:
        """Call the server; return whether it took `what`."""
        try:
            call(*arguments)
        except Exception as error:  # noqa: BLE001 - a tracking server never fails a training
            sentence = f"{what}: {describe(error)}"
            if sentence not in self.failures:
                self.failures.append(sentence)
            return False
        return True

    def _send_all(self) -> None:
        is_open = True
        while is_open:
            batch = [self._values.get()]
            deadline = time.monotonic() + _INTERVAL_S
            while batch[-1] is not None and len(batch) < _BATCH_METRICS:
                try:
                    left_s = max(0.0, deadline - time.monotonic())
                    batch.append(self._values.get(timeout=left_s))
                except queue.Empty:
                    break
            is_open = batch[-1] is not None
            items = [item for item in batch if item is not None]
            if items and not self.attempt("metrics", self.send, items):
                self._lost += len(items)


def describe(error: Exception) -> str:
    """Return the first line of an error, without passwords."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return mask(lines[0][:500])
