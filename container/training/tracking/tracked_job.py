"""Runs `train` as a child process, and records what it logs.

The child gets the stop signals and its grace period, and its exit code is that of the job. It
writes the failure file itself.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from container import artifact, contract
from container.errors import PlatformError, UserError
from container.training.termination import StopRequest
from container.training.tracking import mlflow_run
from container.training.tracking.metric_lines import MetricReader
from container.training.tracking.mlflow_run import MlflowRun
from container.user_packages.supervision import Outcome, Supervisor

SWITCH: Final = "BYO_MLFLOW"
_ON: Final = ("true", "1", "yes", "on")
_OFF: Final = ("false", "0", "no", "off")
_DEFAULT_EXPERIMENT: Final = "Default"


def is_wanted(layout: contract.Layout, environ: Mapping[str, str]) -> bool:
    """Return whether this host records the job: there is a server, and it is the first host.

    Raises: UserError if `BYO_MLFLOW` is not a boolean.
    """
    if not environ.get(mlflow_run.URI_VARIABLE):
        return False
    switch = environ.get(SWITCH, "true").strip().lower()
    if switch not in (*_ON, *_OFF):
        message = f"{SWITCH}={environ[SWITCH]!r}: expected one of {', '.join((*_ON, *_OFF))}"
        raise UserError(message)
    return switch in _ON and contract.load_training_config(layout).resources.rank == 0


def run(layout: contract.Layout, environ: Mapping[str, str], stop: StopRequest) -> int:
    """Train in a child process; return its exit code.

    Raises: UserError before the training starts, if MLflow is not installed or not reachable;
    PlatformError if the process cannot be run.
    """
    client = mlflow_run.load_client(environ[mlflow_run.URI_VARIABLE])
    name = environ.get(contract.TRAINING_JOB_NAME_VARIABLE, "")
    tags = {"sagemaker.job_arn": environ.get(contract.TRAINING_JOB_ARN_VARIABLE, "")}
    experiment = environ.get(mlflow_run.EXPERIMENT_VARIABLE) or _DEFAULT_EXPERIMENT
    given = contract.load_training_config(layout).hyperparameters
    tracked = MlflowRun(client, experiment, name, tags)
    status = "FAILED"
    with Supervisor(contract.TRAINING_STOP_GRACE_S) as supervisor:
        try:
            tracked.log_parameters(given)
            print(f"MLflow: run {tracked.identity} in the experiment {experiment!r}", flush=True)
            outcome = _train(tracked, environ, supervisor)
            tracked.log_parameters(_read_defaults(layout, given))
            if not outcome.exit_code:
                tracked.log_files(layout.model, "model")
                tracked.log_files(layout.output_data, "output")
            status = _judge(outcome.exit_code, stopped=outcome.stopped)
        finally:
            stop.disregard()  # the job has its outcome; a stop from now on must not change it
            tracked.end(status)
    for failure in tracked.failures:
        print(f"warning: MLflow did not take {failure}", file=sys.stderr, flush=True)
    return outcome.exit_code


def _train(tracked: MlflowRun, environ: Mapping[str, str], supervisor: Supervisor) -> Outcome:
    """Run the job in a process that is not recorded again, and record the metrics of its log."""
    readers = {1: MetricReader(), 2: MetricReader()}
    try:
        outcome = supervisor.run(
            [sys.executable, "-m", "container", "train"],
            Path.cwd(),
            {**environ, SWITCH: "false"},
            listener=lambda sink, data: tracked.log(readers[sink].feed(data)),
        )
    except OSError as error:
        message = f"the training process cannot be run: {error}"
        raise PlatformError(message) from error
    for reader in readers.values():
        tracked.log(reader.finish())
    return outcome


def _judge(exit_code: int, *, stopped: bool) -> str:
    if stopped:
        return "KILLED"
    return "FAILED" if exit_code else "FINISHED"


def _read_defaults(layout: contract.Layout, given: Mapping[str, str]) -> dict[str, str]:
    """Return the hyperparameters that the bundled network chose by itself."""
    try:
        chosen = artifact.load(layout.model).manifest.hyperparameters
    except UserError:  # another program's model
        return {}
    return {name: str(value) for name, value in chosen.items() if name not in given}
