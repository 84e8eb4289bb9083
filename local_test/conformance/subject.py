"""What is judged, and with what: the container, a valid request, a small job and time limits."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from container import contract
from local_test import patterns
from local_test.conformance.catalog import Verdict
from local_test.data import storage
from local_test.jobs.result import JobResult, Listeners
from local_test.jobs.training import TrainingJob
from local_test.requests import shorthand
from local_test.requests.validation import validate
from local_test.runners.interface import Runner

RUBBISH: Final = re.compile(
    r"(^|/)(\.(?!versions\.json$)[^/]*|__pycache__|[^/]*\.(tmp|partial|pyc|lock))(/|$)"
)
"""Hidden, temporary and cache files, which do not belong in an upload; the toolkit's list of
versions does, since serving compares it."""


@dataclass(frozen=True)
class Waits:
    """How long the checks wait, in seconds: the platform's own limits, which tests shorten."""

    start_s: float = 480
    training_stop_s: float = contract.TRAINING_STOP_GRACE_S
    serving_stop_s: float = contract.SERVING_STOP_GRACE_S
    ping_s: float = contract.PING_LIMIT_S
    """For `/metrics` too."""
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
    """The engine's description of the image, or None for a program."""
    can_protect: bool = True
    """Whether the runner can make directories read-only and cut off the network."""
    channels: Mapping[str, str] = field(default_factory=dict)
    hyperparameters: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    metric_definitions: Sequence[Mapping[str, str]] = ()
    stop_at: str = "."
    """A regular expression; the stop is ordered at the first log line that it matches."""
    model: str | None = None
    """Archive or directory to serve; the training job's if there is none."""
    body: bytes = b""
    """Of a valid request."""
    content_type: str = "text/csv"
    accept: str = "*/*"
    is_multi_model: bool = False
    is_model_writable: bool = False
    """Whether its servers may write to the model directory, which the platform mounts read-only."""
    waits: Waits = Waits()

    def train(
        self, name: str, amend: Callable[[contract.Layout], None] | None = None, **changes: Any
    ) -> Trial:
        """Run the training job and return what happened.

        `changes` are parameters of `shorthand.training_request`, further fields of the request as
        `extra`, and `faults`. `amend` may change the job's directory before the start.
        """
        assert self.runner is not None  # noqa: S101 - the caller has asked
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
        lines: list[tuple[float, str]] = []
        started = time.monotonic()
        result = TrainingJob(
            validate("CreateTrainingJob", {**request, **extra}),
            self.runner,
            self.directory / name,
            Listeners(
                on_line=lambda _, line: lines.append((time.monotonic() - started, line)),
                on_prepared=amend or (lambda _: None),
            ),
            faults=faults,
            stop_grace_s=self.waits.training_stop_s,
        ).run()
        return Trial(result, lines, time.monotonic() - started)

    @property
    def trained_model(self) -> Path:
        """The archive that the plain training job stores."""
        return self.directory / "out/plain/output/model.tar.gz"

    def find_model(self) -> str | None:
        """Return the URI of the plain training job's archive, if there is one."""
        return storage.to_uri(self.trained_model) if self.trained_model.exists() else None


@dataclass(frozen=True)
class Trial:
    """A training job that was run."""

    result: JobResult
    lines: Sequence[tuple[float, str]]
    """Log lines, each with the seconds since the start."""
    runtime_s: float

    def seconds_after(self, pattern: str) -> float | None:
        """Return the seconds from the first matching line to the end, or None if none matches.

        A pattern that takes too long has stopped no job, and matches nothing either.
        """
        with contextlib.suppress(TimeoutError):
            compiled = patterns.compile_pattern(pattern)
            matches = patterns.find_all(compiled, [line for _, line in self.lines])
            for (seconds, _), found in zip(self.lines, matches, strict=True):
                if found:
                    return self.runtime_s - seconds
        return None

    @property
    def is_good(self) -> bool:
        """Whether the job completed."""
        return self.result.status == "Completed"

    @property
    def model_files(self) -> list[str]:
        """What the first host left in the model directory."""
        model = self.result.directory / "hosts/algo-1/model"
        return sorted(str(path.relative_to(model)) for path in model.rglob("*"))

    @property
    def evidence(self) -> str:
        """How the job ended, in one line."""
        codes = [f"{host} exit code {end}" for host, end in self.result.outcome.exit_codes.items()]
        text = f"{self.result.status}; {', '.join(codes) or 'not started'}"
        if reason := " ".join(self.result.failure.split())[:200]:
            text += f": {reason}"
        if not self.is_good:
            said = [line for _, line in self.lines if line.strip()]
            text += f"; last line: {said[-1][:160] if said else ''}"
        return text


Session = Callable[[Subject], Iterator[Verdict]]
"""Judges some checks in one situation, such as a stop or a server of a batch job."""
Sessions = tuple[tuple[tuple[str, ...], Session], ...]
"""Sessions, each after the IDs of what it judges."""
