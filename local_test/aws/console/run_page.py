"""The jobs of `train`, `evaluate` and `transform`: their list, and a page for each.

Rules of this file: a job's directory holds what a container wrote, so nothing in it is trusted.
"""

import math
import time
from pathlib import Path
from typing import Any, Final

from container.user_packages.masking import hide_secrets
from local_test.aws.account.account import Account
from local_test.aws.console.job_page import LINES, LogTail, draw_values, list_definitions
from local_test.aws.console.rendering import cut_reason, shorten
from local_test.runs import run_files
from local_test.runs.run_files import Run
from local_test.times import format_duration

_LONGEST: Final = 500  # rows of the list
_TAIL_BYTES: Final = 128 * 1024


def list_runs(account: Account, most: int = _LONGEST) -> dict[str, Any]:
    """Return the table of the commands' newest jobs, at most `most`."""
    jobs = account.jobs_directory
    runs = run_files.read_all(jobs, limit=most)
    return {
        "title": "Runs",
        "note": f"Jobs of train, evaluate and transform in {jobs}",
        "link": "/console/run",
        "total": len(run_files.find_requests(jobs)),
        "label": "Last metrics",
        "has_durations": True,
        "rows": [_make_row(run) for run in runs],
    }


def _make_row(run: Run) -> dict[str, Any]:
    metrics = [f"{name} {shorten(value)}" for name, value in run_files.pick_metrics(run)]
    return {
        "name": run.name,
        "link": f"/console/run/{run.kind}/{run.name}",
        "status": run.status,
        "created": run.created_s,
        "duration_s": _measure(run),
        "label": "Failure reason" if run.failure else "Last metrics",
        "detail": cut_reason(run.failure) or ", ".join(metrics) or "; ".join(run.notes),
    }


def _measure(run: Run) -> float | None:
    if run.duration_s is None and run.status == run_files.RUNNING:
        return time.time() - run.created_s
    return run.duration_s


def show_run(account: Account, kind: str, name: str) -> dict[str, Any] | None:
    """Return the values of a job's page, or None if there is no such job."""
    directory = account.jobs_directory / kind / name
    if kind not in run_files.KINDS or "/" in name or name in ("", ".", ".."):
        return None
    request = run_files.load_object(directory / "request.json")
    if not request:
        return None
    run = run_files.read(directory, kind)
    curves = run_files.read_curves(directory, request)
    reports = run_files.list_outputs(directory, request, "report.html")
    return {
        "status": run.status,
        "is_running": run.status == run_files.RUNNING,
        "record": {"FailureReason": run.failure, "CreationTime": run.created_s},
        "facts": {
            "Kind": run.kind,
            "Duration": format_duration(_measure(run)),
            "Directory": str(directory),
            "Model": run.model,
            "Report": next(map(str, reports), ""),
        },
        "parameters": hide_secrets(dict(run.parameters)),
        "has_metrics": kind == "training",
        "definitions": list_definitions(request),
        "advice": "Pass --metric NAME=REGEX to train.",
        "metrics": [draw_values(name, [y for _, y in line]) for name, line in curves.items()],
        "log": _read_log(directory / "logs"),
        "request": hide_secrets(request),
    }


def _read_log(logs: Path) -> LogTail:
    """Return the last lines of each host, which have no times; how many come before is a guess."""
    lines: list[tuple[float | None, str, str]] = []
    skipped = 0
    for path in sorted(logs.glob("*.log")):
        with path.open("rb") as file:
            cut = max(0, path.stat().st_size - _TAIL_BYTES)
            file.seek(cut)
            found = file.read(_TAIL_BYTES).decode("utf-8", "replace").splitlines()
        if cut and len(found) > 1:
            found = found[1:]  # the rest of a line
        skipped += math.ceil(cut * len(found) / _TAIL_BYTES) + max(0, len(found) - LINES)
        lines += [(None, path.stem, text) for text in found[-LINES:]]
    return LogTail(lines, skipped, str(logs))
