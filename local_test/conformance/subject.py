"""Who is judged, and with what: the container, a good request, a small training job, and how long to wait."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from container import contract
from local_test.jobs.result import JobResult, Listeners
from local_test.jobs.training import TrainingJob
from local_test.requests import shorthand
from local_test.requests.validation import validate
from local_test.runners.interface import Runner


@dataclass(frozen=True)
class Waits:
    """How long the checks wait, in seconds: the platform's own limits, which tests shorten."""

    start_s: float = 480
    training_stop_s: float = contract.TRAINING_STOP_GRACE_S
    serving_stop_s: float = contract.SERVING_STOP_GRACE_S
    ping_s: float = contract.PING_LIMIT_S
    invocation_s: float = contract.INVOCATION_LIMIT_S
    unhealthy_s: float = 20
    """How long a server with a broken model, or without a worker, is watched."""
    job_s: int = 3600


@dataclass(frozen=True)
class Subject:
    """One container under test."""

    runner: Runner | None
    """None for a server that runs elsewhere."""
    directory: Path
    """For the jobs' directories."""
    address: tuple[str, int] | None = None
    """Of a server that runs elsewhere."""
    image: Mapping[str, Any] | None = None
    """The engine's description of the image; None for a program."""
    can_protect: bool = True
    """Whether the runner can make directories read-only and shut networks off."""
    channels: Mapping[str, str] = field(default_factory=dict)
    hyperparameters: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    metric_definitions: Sequence[Mapping[str, str]] = ()
    stop_at: str = "."
    """The log line at which the stop is ordered, as a regular expression."""
    model: str | None = None
    """Archive or directory to serve; the training job's if there is none."""
    body: bytes = b""
    """Of a good request."""
    content_type: str = "text/csv"
    accept: str = "*/*"
    is_multi_model: bool = False
    waits: Waits = Waits()

    def train(
        self, name: str, amend: Callable[[contract.Layout], None] | None = None, **changes: Any
    ) -> Trial:
        """Run the training job with changes: those of `shorthand.training_request`, `extra` fields, and `faults`."""
        assert self.runner is not None  # noqa: S101 - asked for by the caller
        extra = changes.pop("extra", {})
        faults = changes.pop("faults", ())
        options: dict[str, Any] = {
            "channels": self.channels,
            "hyperparameters": self.hyperparameters,
            "environment": self.environment,
            "metric_definitions": self.metric_definitions,
            "max_runtime_s": self.waits.job_s,
        } | changes
        image = "image" if self.image is None else str(self.image.get("name", "image"))
        request = shorthand.training_request(
            name=name, image=image, output=str(self.directory / "out"), **options
        )
        trial = Trial()
        job = TrainingJob(
            validate("CreateTrainingJob", {**request, **extra}),
            self.runner,
            self.directory / name,
            Listeners(on_line=trial.see, on_prepared=amend or (lambda _: None)),
            faults=faults,
            stop_grace_s=self.waits.training_stop_s,
        )
        started = time.monotonic()
        trial.started = started
        trial.result = job.run()
        trial.runtime_s = time.monotonic() - started
        return trial


class Trial:
    """A training job that was run, and when its log lines came."""

    result: JobResult

    def __init__(self) -> None:
        self.lines: list[tuple[float, str]] = []
        self.started = 0.0
        self.runtime_s = 0.0

    def see(self, _: str, line: str) -> None:
        """Note a log line and its time."""
        self.lines.append((time.monotonic(), line))

    @property
    def is_good(self) -> bool:
        """Whether the job completed."""
        return self.result.status == "Completed"

    @property
    def text(self) -> str:
        """The whole log."""
        return "\n".join(line for _, line in self.lines)

    @property
    def evidence(self) -> str:
        """How the job ended, in one line."""
        codes = ", ".join(
            f"{host} exit code {code}" for host, code in self.result.outcome.exit_codes.items()
        )
        reason = " ".join(self.result.failure.split())[:200]
        last = next((line for _, line in reversed(self.lines) if line.strip()), "")[:160]
        why = f": {reason}" if reason else ""
        return f"{self.result.status}; {codes or 'not started'}{why}" + (
            f"; last line: {last}" if not self.is_good else ""
        )


@dataclass(frozen=True)
class Reply:
    """An answer of a server; status 0 if there was none."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    """Names in lower case."""
    body: bytes = b""
    seconds: float = 0.0
    error: str = ""

    def __str__(self) -> str:
        """Say it in one line."""
        if not self.status:
            return f"no answer: {self.error}"
        text = " ".join(self.body[:120].decode("utf-8", "replace").split())
        return f"{self.status} {text!r} in {self.seconds:.3f} s"


class Peer:
    """Speaks plain HTTP to a server, on a new connection for each request."""

    def __init__(self, address: tuple[str, int], timeout_s: float) -> None:
        self.address = address
        self._timeout_s = timeout_s

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        is_chunked: bool = False,
    ) -> Reply:
        """Send one request; no header is added but those that HTTP needs."""
        started = time.monotonic()
        connection = http.client.HTTPConnection(*self.address, timeout=self._timeout_s)
        try:
            connection.putrequest(method, path, skip_accept_encoding=True)
            for name, value in (headers or {}).items():
                connection.putheader(name, value)
            if is_chunked and body is not None:
                connection.putheader("Transfer-Encoding", "chunked")
                half = len(body) // 2 or 1
                connection.endheaders(iter([body[:half], body[half:]]), encode_chunked=True)
            else:
                if body is not None:
                    connection.putheader("Content-Length", str(len(body)))
                connection.endheaders(body)
            response = connection.getresponse()
            payload = response.read()
        except (OSError, http.client.HTTPException) as error:
            return Reply(
                0, seconds=time.monotonic() - started, error=f"{type(error).__name__}: {error}"
            )
        finally:
            connection.close()
        names = {name.lower(): value for name, value in response.getheaders()}
        return Reply(response.status, names, payload, time.monotonic() - started)


def run_parallel(count: int, act: Callable[[int], None]) -> None:
    """Call `act` in so many threads at once and wait for all."""
    threads = [threading.Thread(target=act, args=(index,)) for index in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
