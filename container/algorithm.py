"""An algorithm in one typed file: what is known of it, and its training job.

A user's `algorithm.py` holds

    @dataclass(frozen=True)
    class Hyperparameters:                      # each field declared by `field`: default, effect, range
        epochs: int = field(10, "passes over the data", low=1, high=100)

    def train(job: Job) -> None: ...            # leaves the model in job.model_dir
    def load(model_dir: Path) -> Model: ...     # these two if it is to be served
    def predict(model: Model, data: Any) -> Any: ...

and may hold METRICS (names that `job.log_metrics` is given) and CHANNELS (names; one that ends in `?` may be absent).
What is wrong with a job is found before it starts; `container.description` makes the rest of it.

Rules of this file: standard library only; the user's file is imported by `load`, in the process that runs it.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, Final, Generic, TypeVar

from container import contract, hyperparameters
from container.errors import PlatformError, UserError
from container.hyperparameters import Rule, field

__all__ = ["Algorithm", "Job", "field"]

FILE_NAME: Final = "algorithm.py"
T = TypeVar("T")
_STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


class Job(Generic[T]):
    """What a training job is given: `train(job)` reads it, and leaves its model in `model_dir`."""

    def __init__(self, layout: contract.Layout, config: contract.TrainingConfig, hyperparameters: T) -> None:
        """Make the directories that the job writes to."""
        self.hyperparameters = hyperparameters
        self.channels: dict[str, Path] = {name: layout.channel(name) for name in config.channels}
        """Directory of each channel that the job has."""
        self.model_dir = layout.model
        self.checkpoint_dir = layout.checkpoints
        """Kept across spot interruptions: look here for a checkpoint first."""
        self.output_dir = layout.output_data
        self.hosts = config.resources.hosts
        """Names of all hosts, the leader first."""
        self.rank = config.resources.rank
        """Index of this host among them."""
        self.should_stop = False
        """Becomes true when the platform stops the job: save, and return."""
        for directory in (self.model_dir, self.checkpoint_dir, self.output_dir):
            directory.mkdir(parents=True, exist_ok=True)

    def log_metrics(self, **metrics: float) -> None:
        """Print metrics as one line that the metric definitions find again; what is not finite is left out."""
        print(contract.format_metrics(metrics), flush=True)

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        self.should_stop = True


@dataclasses.dataclass(frozen=True)
class Algorithm:
    """What is known of an algorithm without running it."""

    name: str
    hyperparameters: type
    channels: Sequence[str]
    metrics: Sequence[str]
    train: Callable[[Job[Any]], None] | None = None
    load: Callable[[Path], Any] | None = None
    predict: Callable[[Any, Any], Any] | None = None


@dataclasses.dataclass(frozen=True)
class _NoHyperparameters:
    """Of an algorithm that declares none."""


def load(path: Path) -> Algorithm:
    """Import a user's file; the modules beside it are importable.

    Raises: UserError that names everything that is wrong with it.
    """
    sys.path.insert(0, str(path.parent))
    specification = importlib.util.spec_from_file_location(path.stem, path)
    if specification is None or specification.loader is None or not path.is_file():
        message = f"there is no algorithm at {path}"
        raise UserError(message)
    module = importlib.util.module_from_spec(specification)
    sys.modules[path.stem] = module
    specification.loader.exec_module(module)
    algorithm = Algorithm(
        name=path.parent.name if path.stem == Path(FILE_NAME).stem else path.stem,
        hyperparameters=getattr(module, "Hyperparameters", _NoHyperparameters),
        channels=tuple(getattr(module, "CHANNELS", ())),
        metrics=tuple(getattr(module, "METRICS", ())),
        **{name: getattr(module, name, None) for name in ("train", "load", "predict")},
    )
    faults = _find_faults(algorithm)
    if faults:
        summary = f"{path} is no algorithm"
        raise UserError.from_faults(summary, faults)
    return algorithm


def run(path: Path, layout: contract.Layout) -> None:
    """Train with a user's file.

    Raises: UserError before the training starts if a hyperparameter is wrong or a channel is missing.
    """
    algorithm = load(path)
    config = contract.load_training_config(layout)
    declared: type[Any] = algorithm.hyperparameters
    values, warnings = hyperparameters.parse(declared, config.hyperparameters)
    for warning in warnings:
        print(f"warning: {warning}", flush=True)
    missing = [name for name in algorithm.channels if not name.endswith("?") and name not in config.channels]
    if missing:
        found = ", ".join(config.channels) or "none"
        message = f"the job lacks the channel{'s' * (len(missing) > 1)} {', '.join(missing)}; it has: {found}"
        raise UserError(message)
    if algorithm.train is None:
        message = f"{path} has no function train(job)"
        raise UserError(message)
    job: Job[Any] = Job(layout, config, values)
    for number in _STOP_SIGNALS:
        signal.signal(number, job._stop)  # noqa: SLF001 - the handler is no business of the user's
    algorithm.train(job)


def _find_faults(algorithm: Algorithm) -> list[str]:
    faults = []
    declared = algorithm.hyperparameters
    if not (isinstance(declared, type) and dataclasses.is_dataclass(declared)):
        faults.append("Hyperparameters must be a dataclass")
    else:
        faults += [
            f"hyperparameter {item.name!r} must be declared by container.algorithm.field(default, effect, ...)"
            for item in dataclasses.fields(declared)
            if not isinstance(item.metadata.get("rule"), Rule)
        ]
    if algorithm.train is None and algorithm.predict is None:
        faults.append("it has neither train(job) nor load(model_dir) and predict(model, data)")
    if (algorithm.load is None) != (algorithm.predict is None):
        faults.append("load(model_dir) and predict(model, data) belong together")
    faults += [
        f"channel {name!r} must be up to 64 letters, digits, '.', '-' and '_'"
        for name in algorithm.channels
        if not contract.CHANNEL_NAME_PATTERN.fullmatch(name.removesuffix("?"))
    ]
    faults += [
        f"metric {name!r} must be a name like validation_loss" for name in algorithm.metrics if not name.isidentifier()
    ]
    return faults


def main(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """Train with the file that is named first, in the process that `training.script` supervises."""
    layout = contract.Layout.from_environ(environ)
    try:
        run(Path(argv[0]).absolute(), layout)
    except (UserError, PlatformError) as error:
        reason = f"{type(error).__name__}: {error}"
        print(reason, file=sys.stderr, flush=True)
        contract.write_failure(layout, reason)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
