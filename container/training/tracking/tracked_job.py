"""Runs `train` as a child process, and records what it logs.

The child gets the stop signals and its grace period, and its exit code is that of the job. It
writes the failure file itself.
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from container import artifact, contract, variables
from container.errors import PlatformError, UserError
from container.training.termination import StopRequest
from container.training.tracking.metric_lines import MetricReader
from container.training.tracking.mlflow_run import MLFLOW_SWITCH, URI_VARIABLE, MlflowRun
from container.training.tracking.recorded_run import RecordedRun
from container.training.tracking.wandb_run import WANDB_SWITCH, WandbRun
from container.user_packages.supervision import Outcome, Supervisor

Kind = type[MlflowRun] | type[WandbRun]


def choose(layout: contract.Layout, environ: Mapping[str, str]) -> list[Kind]:
    """Return where this host records the job: only the first host does.

    Raises: UserError if `BYO_MLFLOW` or `BYO_WANDB` is not a boolean.
    """
    chosen: list[Kind] = []
    wants_mlflow = variables.flag(MLFLOW_SWITCH, environ, default=True)
    if environ.get(URI_VARIABLE) and wants_mlflow:
        chosen.append(MlflowRun)
    if variables.flag(WANDB_SWITCH, environ):
        chosen.append(WandbRun)
    if chosen and contract.load_training_config(layout).resources.rank:
        return []
    return chosen


def run(
    layout: contract.Layout, environ: Mapping[str, str], stop: StopRequest, kinds: Sequence[Kind]
) -> int:
    """Train in a child process; return its exit code.

    Raises: UserError before the training starts, if a client is not installed or a server not
    reachable; PlatformError if the process cannot be run.
    """
    given = contract.load_training_config(layout).hyperparameters
    # The child is not recorded again; what the clients put into our environment is not its.
    child = {**environ, MLFLOW_SWITCH: "false", WANDB_SWITCH: "false"}
    runs: list[RecordedRun] = []
    status = "FAILED"
    with Supervisor(contract.TRAINING_STOP_GRACE_S) as supervisor:
        try:
            for kind in kinds:
                runs.append(kind(layout, environ))
                runs[-1].log_parameters(given)
                print(f"{kind.server}: {runs[-1].title}", flush=True)
            outcome = _train(runs, child, supervisor)
            for each in runs:
                _log_results(each, layout, given, succeeded=not outcome.exit_code)
            status = "FAILED" if outcome.exit_code else "FINISHED"
            if outcome.stopped:
                status = "KILLED"
        finally:
            stop.disregard()  # the job has its outcome; a stop from now on must not change it
            for each in runs:
                each.end(status)
    for each in runs:
        for failure in each.failures:
            print(f"warning: {each.server} did not take {failure}", file=sys.stderr, flush=True)
    return outcome.exit_code


def _train(
    runs: Sequence[RecordedRun], environ: Mapping[str, str], supervisor: Supervisor
) -> Outcome:
    """Run the job, and record the metrics of its log."""
    readers = {1: MetricReader(), 2: MetricReader()}

    def listen(sink: int, data: bytes) -> None:
        values = readers[sink].feed(data)
        for each in runs:
            each.log(values)

    try:
        command = [sys.executable, "-m", "container", "train"]
        outcome = supervisor.run(command, Path.cwd(), environ, listener=listen)
    except OSError as error:
        raise PlatformError(f"the training process cannot be run: {error}") from error
    for sink in readers:
        listen(sink, b"\n")  # ends the last line
    return outcome


def _log_results(
    recorded: RecordedRun, layout: contract.Layout, given: Mapping[str, str], *, succeeded: bool
) -> None:
    """Record files, and what the bundled network chose by itself."""
    try:
        manifest = artifact.load(layout.model).manifest
    except UserError:  # another program's model
        manifest = None
    if manifest is not None:
        chosen = {name: str(value) for name, value in manifest.hyperparameters.items()}
        recorded.log_parameters({name: chosen[name] for name in chosen if name not in given})
    if succeeded:
        recorded.log_files(layout.model, "model", manifest)
        recorded.log_files(layout.output_data, "output")
