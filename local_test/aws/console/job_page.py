"""The page of a training, processing or transform job: facts, curves and the end of its log."""

import time
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from container.errors import UserError
from local_test.aws.account.account import Account
from local_test.aws.console.rendering import shorten
from local_test.aws.sagemaker import live_jobs
from local_test.aws.sagemaker.live_jobs import TRAINING, TRANSFORM, JobKind
from local_test.data import channels, storage
from local_test.jobs.status import UNFINISHED
from local_test.times import format_duration

LINES: Final = 400  # of a log
_TAIL_BYTES: Final = 256 * 1024
_ADVICE: Final = (
    "Give CreateTrainingJob MetricDefinitions: the name of each metric, and a Regex that finds its "
    "value in the log."
)
_POINTS: Final = 300  # of a curve; more than its pixels

Record = Mapping[str, Any]


class LogTail(NamedTuple):
    """The end of a log."""

    lines: Sequence[tuple[float | None, str, str]]
    """Time in seconds, if it is known, host and text of each line."""
    skipped: int
    """About how many lines come before."""
    place: str = "CloudWatch Logs"
    """Where all lines are."""


def show_job(account: Account, job: JobKind, record: Record) -> dict[str, Any]:
    """Return the values of a job's page."""
    name = record[job.kind.name_name]
    status = record[job.kind.status_name]
    is_running = status in UNFINISHED
    facts = {
        "ARN": record[job.kind.arn_name],
        "Image": live_jobs.image_of(record),
        "Duration": format_duration(measure_job(record, job.title, is_running=is_running)),
        "Artifact": record.get("ModelArtifacts", {}).get("S3ModelArtifacts"),
        "Model": record.get("ModelName"),
        "Exit message": record.get("ExitMessage"),
        "Tuning job": record.get("_tuning"),
    }
    if job is TRANSFORM:
        facts |= {"Input": find_input(record), "Progress": _count_transformed(record)}
    definitions = list_definitions(record)
    return {
        "record": record,
        "status": status,
        "is_running": is_running,
        "facts": facts,
        "has_metrics": job is TRAINING,
        "definitions": definitions,
        "advice": _ADVICE,
        "metrics": _draw_metrics(account, name) if definitions else [],
        "log": read_log(account, job.log_group, f"{name}/"),
        "request": record["_request"],
    }


def measure(start_s: float | None, end_s: float | None, *, is_running: bool) -> float | None:
    """Return how long something took, or has taken until now; None before its start."""
    if end_s is None and is_running:
        end_s = time.time()
    if start_s is None or end_s is None:
        return None
    return end_s - start_s


def measure_job(record: Record, prefix: str, *, is_running: bool) -> float | None:
    """Return for how many seconds a job ran, or runs since it was created."""
    start_s = record.get(f"{prefix}StartTime") or record["CreationTime"]
    return measure(start_s, record.get(f"{prefix}EndTime"), is_running=is_running)


def list_definitions(record: Record) -> list[str]:
    """Return the names of a training job's metric definitions; other jobs have none."""
    specification = record.get("AlgorithmSpecification") or {}
    return [item["Name"] for item in specification.get("MetricDefinitions") or ()]


def find_input(record: Record) -> str:
    """Return where the input of a transform job is."""
    return str(record["TransformInput"]["DataSource"]["S3DataSource"]["S3Uri"])


def _count_transformed(record: Record) -> str:
    """Return how many objects have their answers in S3."""
    prefix = record["TransformOutput"]["S3OutputPath"].rstrip("/") + "/"
    try:
        inputs = channels.list_channel(record["TransformInput"])
        stored = {item.name for item in storage.list_objects(prefix, may_be_empty=True)}
    except UserError as error:  # the bucket was deleted
        return str(error)
    done = sum(f"{item.name}.out" in stored for item in inputs)
    return f"{done} of {len(inputs)} objects"


def read_log(account: Account, group: str, prefix: str) -> LogTail:
    """Return the last lines of all streams that start with `prefix`, oldest first."""
    lines = []
    skipped = 0
    for stream in account.logs.streams(group, prefix):
        size = account.logs.path(group, stream).stat().st_size
        host = stream.partition("/")[2].rpartition("-")[0]
        events = list(account.logs.read_tail(group, stream, _TAIL_BYTES))
        skipped += int(max(0, size - _TAIL_BYTES) * len(events) / _TAIL_BYTES)
        lines += [(event.time_ms / 1000, host, event.text) for event in events]
    lines.sort(key=lambda line: line[0])
    return LogTail(lines[-LINES:], skipped + max(0, len(lines) - LINES))


def _draw_metrics(account: Account, name: str) -> list[dict[str, Any]]:
    values: dict[str, list[float]] = {}
    for metric in account.metrics.read(name):
        values.setdefault(metric.name, []).append(metric.value)
    return [draw_values(metric, found) for metric, found in values.items()]


def draw_values(name: str, values: Sequence[float]) -> dict[str, Any]:
    """Return the points of a curve in a box of 240 by 80, and its numbers as text."""
    least = min(values)
    most = max(values)
    shown = values[:: max(1, len(values) // _POINTS)]
    width = 240 / max(1, len(shown) - 1)
    points = []
    for index, value in enumerate(shown):
        height = (value - least) / (most - least) if most > least else 0.5
        points.append(f"{index * width:.1f},{78 - 74 * height:.1f}")
    return {
        "name": name,
        "points": " ".join(points),
        "last": shorten(values[-1]),
        "least": shorten(least),
        "most": shorten(most),
        "count": len(values),
    }
