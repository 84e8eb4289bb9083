"""Runs a user's own training program under the conventions of `sagemaker-training`.

The steps, each a module: `find` the program, prepare its `environment`, install its
packages (`installation`), compose its command (`launchers`, `container.training.launching`), run it
(`container.user_packages.supervision`), then `completion` or `diagnosis`.

Rules of this folder: standard library only; every process is started through the supervisor.
"""

import contextlib
import errno
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from container import contract
from container.errors import PlatformError, UserError
from container.training.launching import choice, commands, ranks
from container.training.launching.choice import Launch
from container.training.user_script import completion, diagnosis, environment, find, launchers
from container.training.user_script.diagnosis import Failure
from container.training.user_script.environment import Answer
from container.training.user_script.find import Program
from container.training.user_script.installation import Installation
from container.user_packages import job_environment
from container.user_packages.job_environment import JobEnvironment
from container.user_packages.masking import find_secrets, is_secret, mask, mask_command
from container.user_packages.supervision import Outcome, Supervisor

_RESERVED_BYTES: Final = 16 * 1024
_LOST_PEER_WAIT_S: Final = 5.0


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
    answer = environment.prepare(program, layout, environ, supervisor)
    if answer is None:
        stopped = Outcome(128 + (supervisor.stop_signal or 0), stopped=True)
        return diagnosis.diagnose(stopped, "(preparation)")
    variables = environment.complete_variables(answer["variables"], layout, environ)
    with tempfile.TemporaryDirectory(
        prefix="job-", dir=job_environment.choose_parent(environ), ignore_cleanup_errors=True
    ) as scratch:
        ready: _Ready | Failure
        if environ.get(contract.TRAINING_MODULE_VARIABLE):
            ready = _Ready(launchers.compose_toolkit_command(), variables)
        else:
            ready = _prepare(launch, answer, variables, layout.code, (supervisor, Path(scratch)))
        if isinstance(ready, Failure):
            return ready
        return _execute(ready, program, layout, environ, supervisor)


@dataclass(frozen=True)
class _Ready:
    """A program that can be started."""

    command: Sequence[str]
    variables: Mapping[str, str]
    launch: Launch | None = None
    rank_variable: str = ""
    environment: JobEnvironment | None = None


def _prepare(
    launch: Launch | None,
    answer: Answer,
    variables: Mapping[str, str],
    code: Path,
    means: tuple[Supervisor, Path],
) -> _Ready | Failure:
    """Install what the program needs, and compose its command."""
    supervisor, scratch = means
    kind = find.classify(code, answer["program"])
    installation = Installation(code, kind, scratch, answer.get("package_index"))
    made = installation.run(variables, supervisor)
    if isinstance(made, Failure):
        return made
    python = sys.executable
    if made is not None:
        python = made.python
        variables = made.add_to(variables)
    arguments = choice.remove_own(answer["arguments"], launch)
    command = launchers.compose_command(code, answer["program"], kind, arguments, python)
    launched = commands.compose(launch, command, variables, python, scratch)
    variables = {**variables, **launched.variables}
    return _Ready(launched.command, variables, launch, launched.rank_variable, made)


def _execute(
    ready: _Ready,
    program: Program,
    layout: contract.Layout,
    environ: Mapping[str, str],
    supervisor: Supervisor,
) -> Failure | None:
    shown = _log_start(ready.command, ready.variables, environ)
    try:
        outcome = supervisor.run(
            ready.command, layout.code, ready.variables, rank_variable=ready.rank_variable
        )
    except (OSError, ValueError) as error:
        raise UserError(f"{ready.command[0]} cannot be started: {error}") from error
    if not outcome.exit_code:
        packages = ready.environment.packages if ready.environment else None
        return completion.complete(program, layout, environ, outcome, packages)
    if ready.launch is not None:
        return _diagnose_ranks(ready.launch, outcome, shown, supervisor)
    return diagnosis.diagnose(outcome, shown)


def _diagnose_ranks(
    launch: Launch, outcome: Outcome, shown: str, supervisor: Supervisor
) -> Failure:
    """Describe the rank that failed first; let a host whose rank did so end before this one."""
    failed = ranks.find_first_failure(outcome)
    is_led = launch.launcher != "torchrun" and launch.rank > 0
    if is_led or (failed is not None and failed.lost_peer and len(launch.hosts) > 1):
        supervisor.wait_for_stop(_LOST_PEER_WAIT_S)
    if failed is None:
        return diagnosis.diagnose(outcome, shown)
    notes = [failed.describe(launch.launcher), diagnosis.explain(failed.outcome)]
    explanation = "; ".join(filter(None, notes))
    return diagnosis.diagnose(failed.outcome, shown, explanation=explanation)


def _log_start(
    command: Sequence[str], variables: Mapping[str, str], environ: Mapping[str, str]
) -> str:
    """Log the command with hyperparameters and channels; with all variables when debugging.

    Return the command as it was logged, without secrets.
    """
    secrets = find_secrets(variables)
    prefixes = ("",) if _is_debugging(variables) else ("SM_HP_", "SM_CHANNEL_")
    for name, value in sorted(variables.items()):
        if environ.get(name) != value and name.startswith(prefixes):
            text = "***" if is_secret(name) else mask(value, secrets)
            if len(text) > 200:
                text = text[:196] + " ..."
            print(f"  {name}={text}", flush=True)
    shown = mask_command(command, secrets)
    print(f"running: {shown}", flush=True)
    return shown


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
        raise PlatformError(f"the directory {directory} cannot be created: {reason}") from error
