"""Runs a typed algorithm as a training job: the bundled network, or a user's `algorithm.py`.

Rules of this file: whatever is wrong with the files of the job is found before `train` is called.
A user's file is run by `main`, in a process of its own that `user_script` supervises.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from container import algorithm as algorithms
from container import contract
from container.algorithm import Algorithm, Job
from container.errors import PlatformError, UserError
from container.training.termination import StopRequest


def run(algorithm: Algorithm, layout: contract.Layout, stop: algorithms.Stop) -> None:
    """Train.

    Raises: UserError before the training starts if hyperparameters are wrong or channels missing,
    with all of these faults. A later one also names the hyperparameters that have no effect.
    """
    if algorithm.train is None:
        raise UserError(f"the algorithm {algorithm.name} has no function train(job)")
    config = contract.load_training_config(layout)
    values, channels, warnings = _check(algorithm, layout, config)
    for warning in warnings:
        print(f"warning: {warning}", flush=True)
    job: Job[Any] = Job(layout, config, values, channels, stop)
    try:
        algorithm.train(job)
    except UserError as error:
        if not warnings:
            raise
        raise UserError("\n".join([str(error), *warnings])) from error


def _check(
    algorithm: Algorithm, layout: contract.Layout, config: contract.TrainingConfig
) -> tuple[Any, dict[str, Path], list[str]]:
    """Return hyperparameters, directories of the channels, and warnings.

    Raises: UserError with the faults of both.
    """
    faults = []
    try:
        values, warnings = algorithm.parse(config.hyperparameters)
    except UserError as error:
        faults.append(str(error))
    try:
        channels = algorithms.name_channels(algorithm.channels, layout, config)
    except UserError as error:
        faults.append(str(error))
    if faults:
        raise UserError("\n".join(faults))
    return values, channels, warnings


def main(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """Train with the file that the first argument names."""
    layout = contract.Layout.from_environ(environ)
    stop = StopRequest(contract.TRAINING_STOP_GRACE_S)  # the supervisor kills sooner
    stop.worth_saving = True  # the user's code decides what to do with a stop
    try:
        run(algorithms.load(Path(argv[0]).absolute()), layout, stop)
    except (UserError, PlatformError) as error:
        reason = f"{type(error).__name__}: {error}"
        print(reason, file=sys.stderr, flush=True)
        contract.write_failure(layout, reason)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
