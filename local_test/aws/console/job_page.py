"""The page of a training, processing or transform job: facts, curves and the end of its log."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from container.errors import UserError
from local_test.aws.account.account import Account
from local_test.aws.console.rendering import shorten
from local_test.aws.sagemaker import live_jobs
from local_test.aws.sagemaker.live_jobs import TRAINING, TRANSFORM, JobKind
from local_test.data import channels, storage
from local_test.jobs.status import UNFINISHED

_LINES: Final = 400  # of a log
_TAIL_BYTES: Final = 256 * 1024
_POINTS: Final = 300  # of a curve; more than its pixels

Record = Mapping[str, Any]


class LogTail(NamedTuple):
    """The end of a log."""

    lines: list[tuple[float, str, str]]
    """Time in seconds, host and text of each line."""
    skipped: int
    """About how many lines come before."""


def show_job(account: Account, job: JobKind, record: Record) -> dict[str, Any]:
    """Return the values of a job's page."""
    name = record[job.kind.name_name]
    prefix = job.title
    facts = {
        "ARN": record[job.kind.arn_name],
        "Image": live_jobs.image_of(record),
        "Ran for": format_duration(
            record.get(f"{prefix}StartTime"), record.get(f"{prefix}EndTime")
        ),
        "Artifact": record.get("ModelArtifacts", {}).get("S3ModelArtifacts"),
        "Model": record.get("ModelName"),
        "Exit message": record.get("ExitMessage"),
        "Tuning job": record.get("_tuning"),
    }
    if job is TRANSFORM:
        facts |= {"Input": find_input(record), "Progress": _count_transformed(record)}
    return {
        "record": record,
        "status": record[job.kind.status_name],
        "is_running": record[job.kind.status_name] in UNFINISHED,
        "facts": facts,
        "metrics": _draw_metrics(account, name) if job is TRAINING else [],
        "log": read_log(account, job.log_group, f"{name}/"),
        "request": record["_request"],
    }


def format_duration(start: float | None, end: float | None) -> str:
    """Format the seconds between two times; nothing for a job that has not ended."""
    if start is None or end is None:
        return ""
    return f"{end - start:.1f} s"


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
    return LogTail(lines[-_LINES:], skipped + max(0, len(lines) - _LINES))


def _draw_metrics(account: Account, name: str) -> list[dict[str, Any]]:
    values: dict[str, list[float]] = {}
    for metric in account.metrics.read(name):
        values.setdefault(metric.name, []).append(metric.value)
    return [_draw(metric, found) for metric, found in values.items()]


def _draw(name: str, values: list[float]) -> dict[str, Any]:
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
