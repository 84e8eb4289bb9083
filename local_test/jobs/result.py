"""The result of a job, its listeners, and its log files."""

import contextlib
import datetime as dt
import itertools
import logging
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from container import contract
from container.errors import UserError
from local_test import patterns
from local_test.data.line_file import LineFile
from local_test.jobs.fleet import Outcome
from local_test.runners.log_lines import OnLine

log = logging.getLogger(__name__)


@dataclass
class Metric:
    """One value that a metric definition found in the log."""

    name: str
    value: float
    time_s: float
    """Seconds since the epoch."""
    step: int | None = None
    """As a run of an experiment counts; logs have none."""


def compile_definitions(request: Mapping[str, Any]) -> list[tuple[str, re.Pattern[str]]]:
    """Return the metric definitions of a training job. Raises: UserError if a Regex is not one."""
    specification = request.get("AlgorithmSpecification") or {}
    return [
        (item["Name"], patterns.compile_pattern(item["Regex"]))
        for item in specification.get("MetricDefinitions") or ()
    ]


def find_metrics(
    line: str,
    definitions: list[tuple[str, re.Pattern[str]]],
    note: Callable[[str], object] = log.warning,
) -> Iterator[Metric]:
    """Yield every metric in a log line (HPO-1); a group that matches nothing is none.

    A definition whose pattern takes too long is removed, which `note` is called with.
    """
    for name, pattern in tuple(definitions):
        texts: list[str | None] = []
        try:
            [texts] = patterns.find_all(pattern, [line])
        except TimeoutError as error:
            note(f"the metric {name!r} has no values from here on: {error} for a line of the log")
            definitions.remove((name, pattern))
        for text in texts:
            with contextlib.suppress(ValueError):
                yield Metric(name, float(text or ""), time.time())


@dataclass
class JobResult:
    """What a finished job leaves."""

    description: dict[str, Any]
    """In the shape of the service's Describe answer."""
    directory: Path
    """The job's directory: `hosts/HOST` is each container's `/opt/ml`, `logs/HOST.log` its log."""
    status: str
    """`Completed`, `Failed` or `Stopped`."""
    failure: str = ""
    """Why it failed; empty if it did not."""
    findings: list[str] = field(default_factory=list)
    """What SageMaker accepts now and the user will regret, with contract IDs."""
    metrics: list[Metric] = field(default_factory=list)
    outcome: Outcome = field(default_factory=Outcome)


@dataclass(frozen=True)
class Listeners:
    """Functions that are called while a job runs."""

    on_line: OnLine = lambda host, line: None  # noqa: ARG005 - ignored
    on_status: Callable[[str, str], None] = lambda status, message: None  # noqa: ARG005 - ignored
    on_metric: Callable[[Metric], None] = lambda metric: None  # noqa: ARG005 - ignored
    on_prepared: Callable[[contract.Layout], None] = lambda layout: None  # noqa: ARG005 - ignored
    """Called with each host's `/opt/ml` before its container starts; it may change it."""


def make_directory(directory: Path) -> None:
    """Create a job's directory.

    Raises: UserError if it exists: a job name can be used only once, as in the service.
    """
    try:
        directory.mkdir(parents=True)
    except FileExistsError as error:
        raise _refuse_name(directory) from error


def check_name(directory: Path) -> None:
    """Raise UserError if a job has a directory already."""
    if directory.exists():
        raise _refuse_name(directory)


def _refuse_name(directory: Path) -> UserError:
    return UserError(
        f"a job named {directory.name!r} already exists; its directory is {directory}. "
        f"Choose another name, such as {_find_free_name(directory)!r}, or delete the directory"
    )


def _find_free_name(directory: Path) -> str:
    """Return the first name with a number after it that no job has."""
    names = (f"{directory.name}-{number}" for number in itertools.count(2))
    return next(name for name in names if not directory.with_name(name).exists())


@contextlib.contextmanager
def log_files(directory: Path, hosts: Sequence[str], on_line: OnLine) -> Iterator[OnLine]:
    """Yield a listener that writes each line to its host's file before it passes it on."""
    directory.mkdir(parents=True, exist_ok=True)
    files = {host: LineFile(directory / f"{host}.log", _encode) for host in hosts}

    def write(host: str, line: str) -> None:
        files[host].append(line)
        on_line(host, line)

    try:
        yield write
    finally:
        for file in files.values():
            file.close()


def _encode(line: str) -> bytes:
    return f"{line}\n".encode("utf-8", "replace")


def format_time(seconds: float) -> str:
    """Format seconds since the epoch as the service's JSON answers are shown: ISO 8601, UTC."""
    return dt.datetime.fromtimestamp(seconds, dt.UTC).isoformat(timespec="milliseconds")
