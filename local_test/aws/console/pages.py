"""The console: server-rendered pages for a browser on the same port, under `/console`.

Rules of this file: pages read, they never change anything; the one request that does something (the
playground's) must come from a page of ours. Everything is escaped by the templates; the pages load
nothing from elsewhere.
"""

from __future__ import annotations

import datetime as dt
import functools
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import jinja2

from container.errors import UserError
from local_test.aws.account import resources
from local_test.aws.account.account import Account
from local_test.aws.account.state import Record
from local_test.aws.protocol.messages import Reply
from local_test.aws.sagemaker import job_operations, tuning_operations
from local_test.aws.sagemaker.endpoint_operations import meter_of
from local_test.aws.sagemaker.runtime import api_of
from local_test.data import channels, storage
from local_test.endpoints.invocation_http import LOG_GROUP, InvocationError, read_headers

_PAGES: Final = Path(__file__).with_name("assets")
_ROWS: Final = 12  # of a list; the API has them all
_LINES: Final = 400  # of a log
_TAIL_BYTES: Final = 256 * 1024
_POINTS: Final = 300  # of a curve; more than its pixels
_FILES: Final = {
    "style.css": "text/css; charset=utf-8",
    "script.js": "text/javascript; charset=utf-8",
}
_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data: blob:; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
_JOBS: Final = {job.kind.name: job for job in job_operations.JOB_KINDS}
_ENDED: Final = ("Completed", "Failed", "Stopped")


def concerns(environ: Mapping[str, Any]) -> bool:
    """Tell whether an unsigned request is for the console."""
    path = environ.get("PATH_INFO", "")
    if "HTTP_X_AMZ_TARGET" in environ or (path == "/" and environ["REQUEST_METHOD"] != "GET"):
        return False
    return path in ("/", "/favicon.ico", "/console") or path.startswith("/console/")


def answer(account: Account, environ: dict[str, Any]) -> Reply:
    """Answer a request of the console."""
    method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
    parts = path.strip("/").split("/")
    if method == "POST" and parts[1:2] == ["invoke"] and len(parts) == 3:
        return _invoke(account, parts[2], environ)
    if method not in ("GET", "HEAD"):
        return _message(account, 405, f"{method} is not possible here")
    if path == "/":
        return Reply(302, b"", {"Location": "/console"})
    return _find_page(account, parts) or _message(account, 404, f"There is nothing at {path}.")


def _find_page(account: Account, parts: list[str]) -> Reply | None:
    if parts == ["console"]:
        return _render(account, "overview.html", "Overview", groups=_list_groups(account))
    if parts == ["console", "status.json"]:
        return Reply(
            200, json.dumps(summarize(account)).encode(), {"Content-Type": "application/json"}
        )
    if len(parts) == 2 and parts[1] in _FILES:
        return Reply(
            200, (_PAGES / parts[1]).read_bytes(), {"Content-Type": _FILES[parts[1]], **_HEADERS}
        )
    return _show(account, parts[1], "/".join(parts[2:])) if len(parts) > 2 else None


def summarize(account: Account) -> dict[str, Any]:
    """Say what runs, for `status` and `down`."""
    return {
        "account": account.number,
        "region": account.region,
        "jobs": [
            record[job.kind.name_name]
            for job in job_operations.JOB_KINDS
            for record in account.store.list(job.kind.name)
            if record[job.kind.status_name] in job_operations.UNFINISHED
        ],
        "endpoints": {
            record["EndpointName"]: record["EndpointStatus"]
            for record in account.store.list(resources.ENDPOINT.name)
        },
    }


def _show(account: Account, kind: str, name: str) -> Reply | None:
    if kind == "playground":
        is_there = account.store.find(resources.ENDPOINT.name, name) is not None
        return (
            _render(account, "playground.html", "Playground", endpoint=name) if is_there else None
        )
    record = (
        account.store.find(kind, name) if kind in {item.name for item in resources.KINDS} else None
    )
    if record is None:
        return None
    if kind in _JOBS:
        return _show_job(account, _JOBS[kind], record)
    if kind == resources.TUNING_JOB.name:
        return _show_tuning(account, record)
    if kind == resources.ENDPOINT.name:
        return _show_endpoint(account, record)
    return _render(
        *(account, "job.html", name),
        status=record.get("ModelApprovalStatus", ""),
        facts=[("Created", _clock(record["CreationTime"]))],
        without_effect=record.get("_without_effect", []),
        request=_format(record.get("_request", record)),
    )


def _list_groups(account: Account) -> list[dict[str, Any]]:
    details: dict[resources.Kind, tuple[str, Callable[[Record], str]]] = {
        resources.ENDPOINT: ("Configuration", lambda record: record["EndpointConfigName"]),
        resources.TRAINING_JOB: ("Last metrics", lambda record: _format_metrics(account, record)),
        resources.TUNING_JOB: (
            "Strategy",
            lambda record: record["HyperParameterTuningJobConfig"]["Strategy"],
        ),
        resources.PROCESSING_JOB: ("Image", job_operations.image_of),
        resources.TRANSFORM_JOB: ("Input", _find_input),
        resources.MODEL: ("Image", job_operations.image_of),
        resources.PACKAGE: ("Approval", lambda record: record.get("ModelApprovalStatus", "")),
    }
    titles = {
        resources.TRAINING_JOB: "Training jobs",
        resources.TUNING_JOB: "Tuning jobs",
        resources.PROCESSING_JOB: "Processing jobs",
        resources.TRANSFORM_JOB: "Transform jobs",
        resources.ENDPOINT: "Endpoints",
        resources.MODEL: "Models",
        resources.PACKAGE: "Model packages",
    }
    groups = []
    for kind, (detail, describe) in details.items():
        records = account.store.list(kind.name)
        rows = []
        for record in sorted(records, key=lambda item: -item["CreationTime"])[:_ROWS]:
            name = record.get("_name") or record[kind.name_name]
            reason = record.get("FailureReason", "")
            rows.append(
                {
                    "name": name,
                    "link": f"/console/{kind.name}/{quote(name, safe='')}",
                    "status": record.get(kind.status_name, "Available")
                    if kind.status_name
                    else "Available",
                    "label": "Failure reason" if reason else detail,
                    "detail": reason[:160] or describe(record),
                    "created": record["CreationTime"],
                }
            )
        groups.append(
            {"title": titles[kind], "total": len(records), "detail": detail, "rows": rows}
        )
    return groups


def _show_job(account: Account, job: job_operations.JobKind, record: Record) -> Reply:
    name = record[job.kind.name_name]
    lines, skipped = _read_log(account, job.log_group, f"{name}/")
    started, ended = (
        record.get(f"{job.metrics_prefix}StartTime"),
        record.get(f"{job.metrics_prefix}EndTime"),
    )
    facts = [
        ("ARN", record[job.kind.arn_name]),
        ("Image", job_operations.image_of(record)),
        ("Created", _clock(record["CreationTime"])),
        ("Ran for", f"{ended - started:.1f} s" if started and ended else None),
        ("Artifact", record.get("ModelArtifacts", {}).get("S3ModelArtifacts")),
        ("Model", record.get("ModelName")),
        ("Input", _find_input(record) if job is job_operations.TRANSFORM else None),
        ("Progress", _count_transformed(record) if job is job_operations.TRANSFORM else None),
        ("Exit message", record.get("ExitMessage")),
        ("Tuning job", record.get("_tuning")),
    ]
    return _render(
        *(account, "job.html", name),
        status=record[job.kind.status_name],
        secondary=record.get("SecondaryStatus"),
        failure=record.get("FailureReason"),
        is_running=record[job.kind.status_name] not in _ENDED,
        facts=facts,
        transitions=record.get("SecondaryStatusTransitions"),
        metrics=_draw_metrics(account, name) if job is job_operations.TRAINING else [],
        lines=lines,
        skipped=skipped,
        without_effect=record.get("_without_effect", []),
        request=_format(record["_request"]),
    )


def _show_tuning(account: Account, record: Record) -> Reply:
    name = record["HyperParameterTuningJobName"]
    full = tuning_operations.enrich(account, record)
    children = tuning_operations.list_summaries(account, record)
    rows = [
        {
            "name": child["TrainingJobName"],
            "status": child["TrainingJobStatus"],
            "tuned": child["TunedHyperParameters"],
            "value": child.get("FinalHyperParameterTuningJobObjectiveMetric", {}).get("Value"),
        }
        for child in children
    ]
    objective = record["HyperParameterTuningJobConfig"].get("HyperParameterTuningJobObjective", {})
    sign = -1 if objective.get("Type", "Maximize") == "Maximize" else 1
    rows.sort(key=lambda row: (row["value"] is None, sign * (row["value"] or 0)))
    counters = full["TrainingJobStatusCounters"]
    best = full.get("BestTrainingJob", {}).get("TunedHyperParameters", {})
    return _render(
        *(account, "tuning.html", name),
        status=record["HyperParameterTuningJobStatus"],
        failure=record.get("FailureReason"),
        is_running=record["HyperParameterTuningJobStatus"] not in _ENDED,
        metric=objective.get("MetricName", "objective"),
        names=sorted({name for row in rows for name in row["tuned"]}),
        rows=rows,
        facts=[
            ("Strategy", full["Strategy"]),
            ("Objective", f"{objective.get('Type', '')} {objective.get('MetricName', '')}"),
            (
                "Jobs",
                ", ".join(f"{count} {state}" for state, count in counters.items() if count)
                or "none yet",
            ),
            ("Best", ", ".join(f"{key} {_shorten(value)}" for key, value in best.items())),
        ],
        request=_format(record["_request"]),
    )


def _show_endpoint(account: Account, record: Record) -> Reply:
    name = record["EndpointName"]
    live = account.live.get((resources.ENDPOINT.name, name))
    meter = meter_of(account, name)
    running = (
        {item["VariantName"]: item for item in live.endpoint.describe()["ProductionVariants"]}
        if live
        else {}
    )
    variants = []
    for variant in record["_requests"]["config"]["ProductionVariants"]:
        shown = running.get(variant["VariantName"], {})
        minutes = meter.minutes(variant["VariantName"]).values()
        p50, p99 = (meter.latency_s(variant["VariantName"], quantile) for quantile in (0.5, 0.99))
        healthy = shown.get("CurrentInstanceCount", 0)
        wanted = shown.get("DesiredInstanceCount", variant.get("InitialInstanceCount", 1))
        variants.append(
            {
                "name": variant["VariantName"],
                "model": variant["ModelName"],
                "numbers": {
                    "Weight": shown.get("CurrentWeight", variant.get("InitialVariantWeight", 1.0)),
                    "Healthy servers": f"{healthy} of {wanted}",
                    "Requests": sum(minute.invocations for minute in minutes),
                    "4xx": sum(minute.client_errors for minute in minutes),
                    "5xx": sum(minute.server_errors for minute in minutes),
                    "p50": f"{p50 * 1000:.1f} ms" if p50 is not None else "",
                    "p99": f"{p99 * 1000:.1f} ms" if p99 is not None else "",
                },
            }
        )
    lines, skipped = _read_log(account, f"{LOG_GROUP}{name}", "")
    return _render(
        *(account, "endpoint.html", name),
        status=record["EndpointStatus"],
        failure=record.get("FailureReason"),
        facts=[
            ("ARN", record["EndpointArn"]),
            ("Configuration", record["EndpointConfigName"]),
            ("Created", _clock(record["CreationTime"])),
            ("Changed", _clock(record["LastModifiedTime"])),
        ],
        variants=variants,
        lines=lines,
        skipped=skipped,
        request=_format(record["_requests"]),
    )


def _invoke(account: Account, name: str, environ: dict[str, Any]) -> Reply:
    """Pass the playground's request on; a page of another origin cannot send its header."""
    if environ.get("HTTP_X_LOCAL_CONSOLE") != "1":
        return _message(account, 403, "This address takes requests of the playground alone.")
    live = account.live.get((resources.ENDPOINT.name, name))
    if live is None:
        return Reply(
            404,
            f"endpoint {name} is not in service\n".encode(),
            {"Content-Type": "text/plain", **_HEADERS},
        )
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    try:
        result = api_of(account).invoke(live.endpoint, body, read_headers(environ))
    except InvocationError as error:
        text = json.dumps({"code": error.code, "message": error.message, **error.members})
        return Reply(error.status, text.encode(), {"Content-Type": "application/json", **_HEADERS})
    content_type = result.headers.get("content-type", "application/octet-stream")
    return Reply(200, result.body, {**_HEADERS, "Content-Type": content_type})


def _read_log(
    account: Account, group: str, prefix: str
) -> tuple[list[tuple[float, str, str]], int]:
    """Give the last lines of all streams in the order of time, and about how many came before."""
    found, skipped = [], 0
    for stream in account.logs.streams(group, prefix):
        size = account.logs.path(group, stream).stat().st_size
        host = stream.partition("/")[2].rpartition("-")[0]
        lines = list(account.logs.read_tail(group, stream, _TAIL_BYTES))
        if size > _TAIL_BYTES and lines:
            skipped += int((size - _TAIL_BYTES) * len(lines) / _TAIL_BYTES)
        found += [(stamp / 1000, host, text) for stamp, text in lines]
    found.sort(key=lambda line: line[0])
    return found[-_LINES:], skipped + max(0, len(found) - _LINES)


def _draw_metrics(account: Account, name: str) -> list[dict[str, Any]]:
    values: dict[str, list[float]] = {}
    for metric in account.metrics.read(name):
        values.setdefault(metric.name, []).append(metric.value)
    return [_draw(metric, found) for metric, found in values.items()]


def _draw(name: str, values: list[float]) -> dict[str, Any]:
    """Give a curve's points in a box of 240 by 80, and its numbers as text."""
    least, most = min(values), max(values)
    step = max(1, len(values) // _POINTS)
    shown = values[::step]
    width = 240 / max(1, len(shown) - 1)
    points = [
        f"{index * width:.1f},{78 - 74 * ((value - least) / (most - least) if most > least else 0.5):.1f}"
        for index, value in enumerate(shown)
    ]
    return {
        "name": name,
        "points": " ".join(points),
        "last": _shorten(values[-1]),
        "least": _shorten(least),
        "most": _shorten(most),
        "count": len(values),
    }


def _format_metrics(account: Account, record: Record) -> str:
    found = record.get("FinalMetricDataList") or job_operations.final_metrics(
        account, record["TrainingJobName"]
    )
    return ", ".join(f"{item['MetricName']} {_shorten(item['Value'])}" for item in found[:3])


def _find_input(record: Record) -> str:
    return str(record["TransformInput"]["DataSource"]["S3DataSource"]["S3Uri"])


def _count_transformed(record: Record) -> str:
    """Say how many objects have their answers in S3."""
    prefix = record["TransformOutput"]["S3OutputPath"].rstrip("/") + "/"
    try:
        inputs = channels.list_channel(record["TransformInput"])
        stored = {item.name for item in storage.list_objects(prefix, may_be_empty=True)}
    except UserError as error:  # a bucket that is gone
        return str(error)
    return f"{sum(f'{item.name}.out' in stored for item in inputs)} of {len(inputs)} objects"


def _format(document: Any) -> str:
    return json.dumps(document, indent=2)


def _shorten(value: Any) -> str:
    try:
        return f"{float(value):.4g}"
    except (TypeError, ValueError):
        return str(value or "")


def _clock(seconds: float) -> str:
    return dt.datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _message(account: Account, status: int, text: str) -> Reply:
    return _render(
        account,
        "message.html",
        "Not here" if status == 404 else "Refused",
        status_code=status,
        text=text,
    )


def _render(
    account: Account, page: str, title: str, *, status_code: int = 200, **values: Any
) -> Reply:
    body = _templates().get_template(page).render(account=account, title=title, **values)
    return Reply(
        status_code, body.encode(), {"Content-Type": "text/html; charset=utf-8", **_HEADERS}
    )


@functools.cache
def _templates() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_PAGES),
        autoescape=True,
        trim_blocks=True,
        undefined=jinja2.ChainableUndefined,
    )
    environment.filters |= {
        "clock": lambda seconds: (
            dt.datetime.fromtimestamp(seconds).astimezone().strftime("%H:%M:%S")
        ),
        "iso": lambda seconds: dt.datetime.fromtimestamp(seconds, dt.UTC).isoformat(
            timespec="seconds"
        ),
        "short": _shorten,
    }
    return environment
