"""Runs a user's own training program under the conventions of `sagemaker-training`.

The steps, each a module: `find` the program, ask the toolkit for its `environment`, compose its
command (`launchers`), run it (`container.user_packages.supervision`), then `completion` or
`diagnosis`.

Rules of this folder: standard library only; every process is started through the supervisor.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from container import contract
from container.errors import PlatformError, UserError
from container.training.launching import choice
from container.training.user_script import completion, diagnosis, environment, find, launchers
from container.training.user_script.diagnosis import Failure
from container.training.user_script.find import Program
from container.training.user_script.masking import find_secrets, is_secret, mask, mask_command
from container.training.user_script.training_toolkit import Answer
from container.user_packages import required_packages
from container.user_packages.supervision import Outcome, Supervisor

_RESERVED_BYTES: Final = 16 * 1024


def run(program: Program, layout: contract.Layout, environ: Mapping[str, str]) -> int:
    """Fetch, install and run the program; return its exit code, or 1 if it left no model.

    If the exit code is not 0, the failure file holds a reason: the program's own if it wrote one
    (OUT-2).

    Raises: UserError or PlatformError if the program cannot be started.
    """
    for stale in (layout.failure, layout.success):
        stale.unlink(missing_ok=True)
    for directory in (layout.model, layout.output_data, layout.code):
        _make_directory(directory)
    with Supervisor() as supervisor:
        with _reserved_space(layout):
            failure = _run(program, layout, environ, supervisor)
        if failure is not None:
            return diagnosis.report(layout, failure)
    print("the program ended with exit code 0", flush=True)
    return 0


def _run(
    program: Program, layout: contract.Layout, environ: Mapping[str, str], supervisor: Supervisor
) -> Failure | None:
    launch = None
    if not environ.get(contract.TRAINING_MODULE_VARIABLE):  # it has launchers of its own
        launch = choice.choose(layout)
    if launch is not None and launch.launcher != "mpirun":
        message = f"the job would train on each host alone: {launch.launcher} is not launched here"
        raise UserError(message)
    answer = environment.ask_toolkit(program, layout, environ, supervisor)
    if answer is None:
        stopped = Outcome(128 + (supervisor.stop_signal or 0), stopped=True)
        return diagnosis.diagnose(stopped, "(preparation)")
    name = answer["program"]
    variables = environment.complete_variables(answer["variables"], layout, environ)
    secrets = find_secrets(variables)
    if launchers.needs_toolkit(answer["variables"], environ):
        command = launchers.compose_toolkit_command()
    else:
        kind = find.classify(layout.code, name)
        if kind != "command":
            failure = _install(kind, layout.code, answer, variables, supervisor)
            if failure is not None:
                return failure
        command = launchers.compose_command(layout.code, name, kind, answer["arguments"])
    _log_start(command, variables, environ, secrets)
    try:
        outcome = supervisor.run(command, layout.code, variables)
    except (OSError, ValueError) as error:
        message = f"{name} cannot be started: {error}"
        raise UserError(message) from error
    if outcome.exit_code:
        return diagnosis.diagnose(outcome, mask_command(command, secrets))
    return completion.complete(program, layout, environ, outcome)


def _install(
    kind: find.Kind,
    code: Path,
    answer: Answer,
    variables: Mapping[str, str],
    supervisor: Supervisor,
) -> Failure | None:
    """Install the package or requirements that `code` holds."""
    is_package = kind == "package"
    command = required_packages.plan_installation(code, variables, is_package=is_package)
    if not command:
        return None
    shown = mask_command(command, find_secrets(variables))
    print(f"installing: {shown}", flush=True)
    if answer.get("package_index"):
        variables = {**variables, "PIP_INDEX_URL": answer["package_index"]}
    outcome = supervisor.run(command, code, variables)
    if not outcome.exit_code:
        return None
    return diagnosis.diagnose(
        outcome,
        shown,
        "InstallModuleError" if is_package else "InstallRequirementsError",
        required_packages.explain_failure(variables),
    )


def _log_start(
    command: Sequence[str],
    variables: Mapping[str, str],
    environ: Mapping[str, str],
    secrets: Sequence[str],
) -> None:
    """Log the command with hyperparameters and channels; with all variables when debugging."""
    prefixes = ("",) if _is_debugging(variables) else ("SM_HP_", "SM_CHANNEL_")
    for name, value in sorted(variables.items()):
        if environ.get(name) != value and name.startswith(prefixes):
            text = "***" if is_secret(name) else mask(value, secrets)
            if len(text) > 200:
                text = text[:196] + " ..."
            print(f"  {name}={text}", flush=True)
    print(f"running: {mask_command(command, secrets)}", flush=True)


def _is_debugging(variables: Mapping[str, str]) -> bool:
    """Return whether the container log level is DEBUG (10) or lower."""
    levels = (variables.get("SM_LOG_LEVEL", ""), variables.get("SAGEMAKER_CONTAINER_LOG_LEVEL", ""))
    return any(level.isdecimal() and int(level) <= 10 for level in levels)


@contextlib.contextmanager
def _reserved_space(layout: contract.Layout) -> Iterator[None]:
    """Keep a few blocks of the disk, so that there is room for the failure file afterwards."""
    reserve = layout.failure.with_name(".reserve")
    try:
        reserve.write_bytes(os.urandom(_RESERVED_BYTES))
    except OSError as error:
        message = f"the output directory {reserve.parent} cannot be written: {error}"
        raise PlatformError(message) from error
    try:
        yield
    finally:
        reserve.unlink(missing_ok=True)


def _make_directory(directory: Path) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = "the disk is full" if error.errno == errno.ENOSPC else error
        message = f"the directory {directory} cannot be created: {reason}"
        raise PlatformError(message) from error
