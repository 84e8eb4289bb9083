"""What a job has left in its directory: status, parameters, metrics, curves and confusion matrix.

Rules of this file: it reads, also while a job runs, and what a container wrote is never trusted: a
file of another form counts as absent.
"""

import dataclasses
import datetime as dt
import itertools
import json
import math
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from container.errors import UserError
from container.user_packages.masking import hide_secrets
from local_test.jobs.job_directory import PROCESS_FILE
from local_test.jobs.result import compile_definitions, find_metrics
from local_test.runners.procfs import name_process

KINDS: Final = {"training": "Training", "processing": "Processing", "transform": "Transform"}
"""Each kind of job: its folder, and the prefix of its names in the API."""
RUNNING: Final = "InProgress"
INTERRUPTED: Final = "Interrupted"
"""The command that ran the job ended before the job did; the API has no such status."""

_DOCUMENT_BYTES: Final = 16 << 20
_LINE_BYTES: Final = 1 << 16  # of a log; what follows in a longer one is not read
_CLASSES_MAXIMUM: Final = 100
_METRICS_SHOWN: Final = 3
STEP_NAMES: Final = ("epoch", "step", "iteration")

Point = tuple[float, float]


@dataclass(frozen=True)
class Run:
    """One job."""

    name: str
    kind: str
    """`training`, `processing` or `transform`."""
    origin: str
    """`local` for a job of the command line, `up` for one of the local AWS."""
    directory: Path
    status: str
    created_s: float
    """Seconds since the epoch."""
    duration_s: float | None
    """From creation to end, or None if that is unknown."""
    parameters: Mapping[str, str] = field(default_factory=dict)
    """As given, for filters and comparisons; `hide_secrets` comes before any output."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    """The last value of each."""
    model: str = ""
    """URI of the artifact of a completed training job, or the path of its copy here."""
    failure: str = ""
    notes: Sequence[str] = ()
    """Why something is not there."""

    def describe(self) -> dict[str, Any]:
        """Return the run for programs."""
        document = dataclasses.asdict(self)
        created = dt.datetime.fromtimestamp(document.pop("created_s"), dt.UTC)
        document["created"] = created.isoformat(timespec="seconds")
        document["parameters"] = hide_secrets(self.parameters)
        return {**document, "directory": str(self.directory)}


def find_requests(jobs: Path) -> list[Path]:
    """Return the requests of all jobs of a directory of jobs, the newest first."""
    paths = [path for kind in KINDS for path in (jobs / kind).glob("*/request.json")]
    return sorted(paths, key=lambda path: path.stat().st_mtime, reverse=True)


def read_all(jobs: Path, origin: str = "local", limit: int | None = None) -> list[Run]:
    """Read all jobs of a directory of jobs, or the `limit` newest; the newest first."""
    directories = [path.parent for path in find_requests(jobs)[:limit]]
    runs = [read(directory, directory.parent.name, origin) for directory in directories]
    return sorted(runs, key=lambda run: (-run.created_s, run.name))


def read(directory: Path, kind: str, origin: str = "local") -> Run:
    """Read a job from its directory."""
    request = load_object(directory / "request.json")
    description = load_object(directory / "description.json")
    prefix = KINDS[kind]
    created_s = _parse_time(description.get("CreationTime"))
    if created_s is None:
        created_s = (directory / "request.json").stat().st_mtime
    end_s = _parse_time(description.get(f"{prefix}EndTime"))
    status = str(description.get(f"{prefix}JobStatus") or _judge_unfinished(directory))
    is_done = status == "Completed" and kind == "training"
    metrics = _read_metrics(directory, request, description)
    return Run(
        name=directory.name,
        kind=kind,
        origin=origin,
        directory=directory,
        status=status,
        created_s=created_s,
        duration_s=None if end_s is None else round(end_s - created_s, 3),
        parameters=_read_parameters(request),
        metrics=metrics,
        model=find_model(description, directory) * is_done,
        failure=str(description.get("FailureReason", "")),
        notes=_find_notes(request, metrics) if kind == "training" else [],
    )


def pick_metrics(run: Run) -> list[tuple[str, float]]:
    """Return the metrics that say most: those of a test, then validation, then any."""

    def rank(name: str) -> int:
        starts = ("test_", "accuracy", "validation_", "val_")
        return next((i for i, start in enumerate(starts) if name.startswith(start)), len(starts))

    ordered = sorted(run.metrics.items(), key=lambda item: rank(item[0]))
    return [item for item in ordered if item[0] != "epoch"][:_METRICS_SHOWN]


def find_model(description: Mapping[str, Any], directory: Path) -> str:
    """Return where a training job's artifact is: the copy of one in an account, or its URI."""
    artifacts = description.get("ModelArtifacts") or {}
    uri = str(artifacts.get("S3ModelArtifacts", ""))
    copy = directory / "output" / "model.tar.gz"
    return str(copy) if uri.startswith("s3://") and copy.is_file() else uri


def _judge_unfinished(directory: Path) -> str:
    """Return the status of a job without a description: its command still runs, or does not."""
    process = load_object(directory / PROCESS_FILE).get("process")
    if process is None:
        return "Unknown"
    pid = str(process).partition("-")[0]
    is_alive = pid.isdecimal() and name_process(int(pid)) == process
    return RUNNING if is_alive else INTERRUPTED


def _read_parameters(request: Mapping[str, Any]) -> dict[str, str]:
    """Return the hyperparameters; another job's arguments and variables take their place."""
    given = request.get("HyperParameters") or request.get("Environment") or {}
    return {str(name): str(value) for name, value in given.items()}


def _read_metrics(
    directory: Path, request: Mapping[str, Any], description: Mapping[str, Any]
) -> dict[str, float]:
    """Return the last value of each metric; those of a running job are in its log."""
    final = description.get("FinalMetricDataList") or ()
    metrics = {str(item["MetricName"]): float(item["Value"]) for item in final}
    if not description:
        curves = read_curves(directory, request)
        metrics = {name: points[-1][1] for name, points in curves.items()}
    if any(name.startswith("test_") for name in metrics):
        return metrics
    measured = find_evaluation(directory, request)
    names = ("accuracy", "precision", "recall", "f1", "auc")
    found = {name: measured[name] for name in names if _is_number(measured.get(name))}
    return {**found, **metrics}


def _find_notes(request: Mapping[str, Any], metrics: Collection[str]) -> list[str]:
    advice = "pass --metric NAME=REGEX to train, or MetricDefinitions in a request"
    if not _list_definitions(request):
        return [f"no metric definitions, so no curves: {advice}"]
    if set(metrics).issubset(STEP_NAMES):
        return [f"no metric definition matched the log, so no curves: {advice}"]
    return []


def read_curves(
    directory: Path, request: Mapping[str, Any] | None = None
) -> dict[str, list[Point]]:
    """Return the values of each metric in a training job's log, by epoch or step, else by number.

    The definitions are those of the job's own request, as the service applies them.
    """
    definitions = _list_definitions(request or load_object(directory / "request.json"))
    curves: dict[str, list[Point]] = {}
    if not definitions:
        return curves
    for line in _read_lines(directory / "logs"):
        found = _scrape(line, definitions)
        step = next((found[name][-1] for name in STEP_NAMES if name in found), None)
        for name, values in found.items():
            points = curves.setdefault(name, [])
            for value in values:
                points.append((len(points) + 1.0 if step is None else step, value))
    return curves


def _scrape(line: str, definitions: list[tuple[str, re.Pattern[str]]]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for metric in find_metrics(line, definitions):
        if math.isfinite(metric.value):
            found.setdefault(metric.name, []).append(metric.value)
    return found


def _list_definitions(request: Mapping[str, Any]) -> list[tuple[str, re.Pattern[str]]]:
    try:
        return compile_definitions(request)
    except (UserError, LookupError, TypeError, AttributeError):
        return []


def _read_lines(logs: Path) -> Iterator[str]:
    for path in sorted(logs.glob("*.log")):
        with path.open("rb") as file:
            while line := file.readline(_LINE_BYTES):
                yield line.decode("utf-8", "replace")


def find_evaluation(directory: Path, request: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the `metrics.json` of a job's evaluation; empty if there is none.

    A training job without one has that of the processing job of its name, as `smoke` calls it.
    """
    paths = list_outputs(directory, request, "metrics.json")
    paths += list_outputs(
        directory.parents[1] / f"processing/{directory.name}", None, "metrics.json"
    )
    for path in paths:
        document = load_object(path)
        if _is_number(document.get("accuracy")):
            return document
    return {}


def list_outputs(directory: Path, request: Mapping[str, Any] | None, name: str) -> list[Path]:
    """List the files called `name` that a job's evaluation wrote, where they lie unpacked."""
    hosts = sorted((directory / "hosts").glob("*"))
    places = [host / "output" / folder for host in hosts for folder in ("evaluation", "data")]
    document = request or load_object(directory / "request.json")
    for output in (document.get("ProcessingOutputConfig") or {}).get("Outputs") or ():
        uri = str((output.get("S3Output") or {}).get("S3Uri", ""))
        if uri.startswith("file://"):
            places.append(Path(uri.removeprefix("file://")))
    return [place / name for place in places if _is_own_file(place / name, directory)]


def _is_own_file(path: Path, directory: Path) -> bool:
    """Return whether a path is a file, and no link that a container left leads out of `hosts`."""
    hosts = directory / "hosts"
    if not path.is_file():
        return False
    return not path.is_relative_to(hosts) or path.resolve().is_relative_to(hosts.resolve())


def read_confusion(directory: Path) -> tuple[list[str], list[list[int]]] | None:
    """Return classes and confusion matrix `[true, predicted]` of a job's evaluation."""
    measured = find_evaluation(directory)
    classes = [str(name) for name in measured.get("classes") or ()]
    matrix: Any = measured.get("confusion_matrix")
    if not 0 < len(classes) <= _CLASSES_MAXIMUM or not _is_square(matrix, len(classes)):
        return None
    return classes, [[int(count) for count in row] for row in matrix]


def _is_square(matrix: Any, size: int) -> bool:
    """Return whether a value is a list of as many lists of numbers."""
    if not isinstance(matrix, list) or len(matrix) != size:
        return False
    rows = [row for row in matrix if isinstance(row, list) and len(row) == size]
    return len(rows) == size and all(map(_is_number, itertools.chain(*rows)))


def load_object(path: Path) -> dict[str, Any]:
    """Load a JSON object; a file that is absent, too long or another form is empty."""
    try:
        if path.stat().st_size > _DOCUMENT_BYTES:
            return {}
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _parse_time(text: object) -> float | None:
    try:
        return dt.datetime.fromisoformat(str(text)).timestamp()
    except ValueError:
        return None
