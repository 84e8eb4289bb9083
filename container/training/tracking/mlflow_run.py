"""One run in MLflow: parameters first, metrics while the job runs, files and status at its end.

A run that cannot be created fails the job before it starts. What cannot be sent later is counted
and reported, and never fails a training.
"""

from __future__ import annotations

import importlib
import os
import queue
import re
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from container.errors import UserError
from container.training.tracking.metric_lines import Value
from container.training.user_script.masking import is_secret, mask

URI_VARIABLE: Final = "MLFLOW_TRACKING_URI"
EXPERIMENT_VARIABLE: Final = "MLFLOW_EXPERIMENT_NAME"

_SETTINGS: Final = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",  # its own 7 take minutes, in which a job costs money
    "MLFLOW_DISABLE_TELEMETRY": "true",  # which holds up a job that has no way to the internet
}
"""Variables of MLflow's own that are set unless the job sets them."""

# Limits of MLflow's servers.
_BATCH_METRICS: Final = 1000
_BATCH_PARAMETERS: Final = 100
_VALUE_CHARACTERS: Final = 6000
_NAME_CHARACTERS: Final = 250
_FOREIGN: Final = re.compile(r"[^\w.\-/ ]")

_INTERVAL_S: Final = 1.0
_END_WAIT_S: Final = 30.0  # a job that has ended costs money


def load_client(uri: str) -> Any:
    """Import MLflow, and return its client for a server.

    Raises: UserError with what to install, or what is wrong with the server's address.
    """
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    try:
        mlflow = importlib.import_module("mlflow")
    except ModuleNotFoundError as error:
        message = (
            f"{URI_VARIABLE} is set, and the package mlflow is not in this image; install "
            "mlflow-skinny in the image, or set BYO_MLFLOW=false to train without it"
        )
        raise UserError(message) from error
    try:
        return mlflow.MlflowClient(tracking_uri=uri)
    except Exception as error:
        message = f"{URI_VARIABLE}: {mask(_shorten(error))}"
        raise UserError(message) from error


class MlflowRun:
    """A run that has been created; `log` may be called from one thread, `end` is called once."""

    def __init__(self, client: Any, experiment: str, name: str, tags: Mapping[str, str]) -> None:
        """Create the run, and the experiment if there is none of its name.

        Raises: UserError if the server cannot be reached, or refuses.
        """
        self._client = client
        try:
            found = client.get_experiment_by_name(experiment)
            identity = found.experiment_id if found else client.create_experiment(experiment)
            run = client.create_run(identity, run_name=name or None, tags=dict(tags))
        except Exception as error:
            message = f"no run can be created in MLflow: {mask(_shorten(error))}"
            raise UserError(message) from error
        self.identity = str(run.info.run_id)
        self.failures: list[str] = []
        """What could not be sent, in words."""
        self._values: queue.SimpleQueue[tuple[Value, int] | None] = queue.SimpleQueue()
        self._lost = 0
        self._sender = threading.Thread(target=self._send_all, daemon=True, name="mlflow")
        self._sender.start()

    def log_parameters(self, parameters: Mapping[str, str]) -> None:
        """Send parameters; secrets are hidden, and what is too long is cut."""
        entities = importlib.import_module("mlflow.entities")
        params = [
            entities.Param(clean_name(name), _clean_value(name, value))
            for name, value in parameters.items()
        ]
        for start in range(0, len(params), _BATCH_PARAMETERS):
            batch = params[start : start + _BATCH_PARAMETERS]
            self._try("parameters", self._client.log_batch, self.identity, params=batch)

    def log(self, values: Sequence[Value]) -> None:
        """Queue values; a slow server never holds up the job."""
        now_ms = int(time.time() * 1000)
        for value in values:
            self._values.put((value, now_ms))

    def log_files(self, directory: Path, name: str) -> None:
        """Upload a directory, if it holds anything."""
        if directory.is_dir() and any(directory.iterdir()):
            self._try(name, self._client.log_artifacts, self.identity, str(directory), name)

    def end(self, status: str) -> None:
        """Send what is queued, and close the run as FINISHED, FAILED or KILLED."""
        self._values.put(None)
        self._sender.join(_END_WAIT_S)
        if self._sender.is_alive():
            self.failures.append("metrics: the server did not take them in time")
        elif self._lost:
            self.failures.append(f"metrics: {self._lost} values were not taken")
        self._try("status", self._client.set_terminated, self.identity, status)

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
            self._send([item for item in batch if item is not None])

    def _send(self, items: Sequence[tuple[Value, int]]) -> None:
        if not items:
            return
        entities = importlib.import_module("mlflow.entities")
        metrics = [
            entities.Metric(clean_name(value.name), value.value, time_ms, value.step)
            for value, time_ms in items
        ]
        if not self._try("metrics", self._client.log_batch, self.identity, metrics=metrics):
            self._lost += len(metrics)

    def _try(self, what: str, call: Any, *arguments: Any, **named: Any) -> bool:
        try:
            call(*arguments, **named)
        except Exception as error:  # noqa: BLE001 - a tracking server never fails a training
            sentence = f"{what}: {mask(_shorten(error))}"
            if sentence not in self.failures:
                self.failures.append(sentence)
            return False
        return True


def clean_name(name: str) -> str:
    """Return a name that MLflow takes: letters, digits, `_`, `-`, `.`, `/` and spaces."""
    return _FOREIGN.sub("_", name)[:_NAME_CHARACTERS]


def _clean_value(name: str, value: str) -> str:
    if is_secret(name):
        return "***"
    return mask(value)[:_VALUE_CHARACTERS]


def _shorten(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:500]
