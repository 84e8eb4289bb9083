"""What a person does after a job: look at its report, serve its model, compare it with another."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from container.errors import UserError, describe_absence, name_command
from local_test.cli.options import JOBS
from local_test.jobs.result import JobResult
from local_test.requests.shorthand import PROGRAM_IMAGE
from local_test.runs import run_files

_MODELS_SHOWN: Final = 5


def list_lines(result: JobResult) -> list[str]:
    """Return lines that name the files and commands that follow a job; none of them is empty."""
    reports = run_files.list_outputs(result.directory, None, "report.html")
    lines = [f"report: {report}" for report in reports[:1]]
    if result.status == "Failed":
        logs = result.directory / "logs"
        if logs.is_dir():
            lines.append(f"log: {logs}")
        return lines
    model = run_files.find_model(result.description, result.directory).removeprefix("file://")
    if result.status == "Completed" and model:
        image = _find_image(result.description)
        lines.append(f"next: {name_command('serve')}{image} --model {shlex.quote(model)}")
        if other := _find_other(result.directory):
            lines.append(f"next: {name_command('runs')} compare {other} {result.directory.name}")
    return lines


def _find_image(description: Mapping[str, Any]) -> str:
    """Return the flag that names the job's image; empty for a program."""
    image = str(description.get("AlgorithmSpecification", {}).get("TrainingImage", PROGRAM_IMAGE))
    return "" if image == PROGRAM_IMAGE else f" --image {shlex.quote(image)}"


def _find_other(directory: Path) -> str:
    """Return the newest training job before this one that was completed; empty without one."""
    if directory.parent != JOBS / "training":
        return ""
    for run in run_files.read_all(JOBS):
        if run.kind == "training" and run.status == "Completed" and run.name != directory.name:
            return run.name
    return ""


def resolve_model(place: str | None) -> str | None:
    """Return the model that `--model` names: a path, a URI, or the name of a training job.

    Raises: UserError that names the training jobs that have one.
    """
    if not place or "://" in place or Path(place).expanduser().exists():
        return place
    models = {run.name: run.model for run in reversed(run_files.read_all(JOBS)) if run.model}
    if place in models:
        return models[place]
    message = describe_absence(place)
    if names := list(models)[::-1][:_MODELS_SHOWN]:
        message += f"; training jobs with a model: {', '.join(names)}"
    raise UserError(message)
