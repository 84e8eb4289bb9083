"""The overview: the newest resources of each kind, and the newest jobs of the commands."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

from local_test.aws.account import kinds
from local_test.aws.account.account import Account
from local_test.aws.account.kinds import Kind
from local_test.aws.console.job_page import find_input, list_definitions, measure_job
from local_test.aws.console.rendering import cut_reason, shorten
from local_test.aws.console.run_page import list_runs
from local_test.aws.sagemaker import live_jobs
from local_test.jobs.status import UNFINISHED

_ROWS: Final = 12  # of each list of the overview
_LONGEST: Final = 500  # rows of a list of its own; the API has them all

Record = Mapping[str, Any]


@dataclass(frozen=True)
class _Group:
    """One table of the overview."""

    kind: Kind[Any]
    title: str
    label: str
    """Head of the column that is the kind's own."""
    describe: Callable[[Account, Record], str]


def _list_metrics(account: Account, record: Record) -> str:
    if not list_definitions(record):
        return "no metric definitions"
    found = record.get("FinalMetricDataList") or live_jobs.final_metrics(
        account, record["TrainingJobName"]
    )
    return ", ".join(f"{item['MetricName']} {shorten(item['Value'])}" for item in found[:3])


def _find_image(_: Account, record: Record) -> str:
    return live_jobs.image_of(record)


def _read(member: str) -> Callable[[Account, Record], str]:
    return lambda _, record: str(record.get(member, ""))


def _read_strategy(_: Account, record: Record) -> str:
    return str(record["HyperParameterTuningJobConfig"]["Strategy"])


_GROUPS: Final = (
    _Group(kinds.ENDPOINT, "Endpoints", "Configuration", _read("EndpointConfigName")),
    _Group(kinds.COMPONENT, "Inference components", "Endpoint", _read("EndpointName")),
    _Group(kinds.TRAINING_JOB, "Training jobs", "Last metrics", _list_metrics),
    _Group(kinds.TUNING_JOB, "Tuning jobs", "Strategy", _read_strategy),
    _Group(kinds.PROCESSING_JOB, "Processing jobs", "Image", _find_image),
    _Group(kinds.TRANSFORM_JOB, "Transform jobs", "Input", lambda _, record: find_input(record)),
    _Group(kinds.MODEL, "Models", "Image", _find_image),
    _Group(kinds.PACKAGE, "Model packages", "Approval", _read("ModelApprovalStatus")),
    _Group(kinds.PIPELINE, "Pipelines", "Description", _read("PipelineDescription")),
)


def list_groups(account: Account) -> list[dict[str, Any]]:
    """Return the tables, each with its newest rows."""
    runs = list_runs(account, _ROWS)
    groups = [_make_group(account, group, _ROWS) for group in _GROUPS]
    return groups + [runs] * bool(runs["total"])


def list_group(account: Account, kind: str) -> dict[str, Any]:
    """Return the table of one kind, with all rows that a page can hold."""
    [group] = [group for group in _GROUPS if group.kind.name == kind]
    return _make_group(account, group, _LONGEST)


def _make_group(account: Account, group: _Group, most: int) -> dict[str, Any]:
    records = account.store.list(group.kind)
    newest = sorted(records, key=lambda record: -record["CreationTime"])[:most]
    rows = [_make_row(account, group, record) for record in newest]
    return {
        "title": group.title,
        "link": f"/console/{group.kind.name}",
        "total": len(records),
        "label": group.label,
        "has_durations": any("duration_s" in row for row in rows),
        "rows": rows,
    }


def _make_row(account: Account, group: _Group, record: Record) -> dict[str, Any]:
    kind = group.kind
    name = record.get("_name") or record[kind.name_name]
    row = {
        "name": name,
        "link": f"/console/{kind.name}/{quote(name, safe='')}",
        "status": record.get(kind.status_name, "Available"),
        "created": record["CreationTime"],
    }
    if kind.prefix.endswith("Job"):
        prefix = kind.prefix.removesuffix("Job")
        row["duration_s"] = measure_job(record, prefix, is_running=row["status"] in UNFINISHED)
    if reason := record.get("FailureReason"):
        return {**row, "label": "Failure reason", "detail": cut_reason(reason)}
    return {**row, "label": group.label, "detail": group.describe(account, record)}


def summarize(account: Account) -> dict[str, Any]:
    """Return what runs, for the commands `status` and `down`."""
    jobs = [
        record[job.kind.name_name]
        for job in live_jobs.JOB_KINDS
        for record in account.store.list(job.kind)
        if record[job.kind.status_name] in UNFINISHED
    ]
    endpoints = {
        record["EndpointName"]: record["EndpointStatus"]
        for record in account.store.list(kinds.ENDPOINT)
    }
    return {
        "account": account.number,
        "region": account.region,
        "jobs": jobs,
        "endpoints": endpoints,
        "warnings": [*account.store.warnings, *filter(None, [account.store.fault])],
    }
