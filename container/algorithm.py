"""An algorithm in one typed file: what is known of it, and its training job.

A user's `algorithm.py`, like `container.training.bundled` for the bundled network, holds

    @dataclass(frozen=True) class Hyperparameters:                      # each field declared by
    `field`: default, effect, range
        epochs: int = field(10, "passes over the data", low=1, high=100)

    def train(job: Job) -> None: ...            # leaves the model in job.model_dir
    def load(model_dir: Path) -> Model: ...     # these two if it is to be served
    def predict(model: Model, data: Any) -> Any: ...

and may hold METRICS (names that `job.log_metrics` is given), CHANNELS (names; one that ends in `?`
may be absent, and
`training|train` has two names) and `parse_hyperparameters(raw)`, which gives them and a list of warnings, for defaults
that depend on each other. What is wrong with a job is found before it starts; `container.developer.describe` makes the rest.

Rules of this file: standard library only; the user's file is imported by `load`, in the process
that runs it. Whatever the bundled network is given a user's algorithm is given, too.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib.util
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Final, Generic, Protocol, TypeVar

from container import contract, hyperparameters
from container.errors import PlatformError, UserError
from container.hyperparameters import Rule, field

__all__ = ["Algorithm", "Job", "field"]

FILE_NAME: Final = "algorithm.py"
T = TypeVar("T")


class Stop(Protocol):
    """The platform's wish to end the job, and what is to be kept then."""

    requested: bool
    """Becomes true when the platform stops the job."""
    worth_saving: bool
    """Set it once there is something to save: a stop before that may end the process at once."""
    saved: str
    """Set it to what is on the disk already, in words: that is told if saving the rest takes too long."""


class Job(Generic[T]):
    """What a training job is given: `train(job)` reads it, and leaves its model in `model_dir`."""

    def __init__(
        self,
        layout: contract.Layout,
        config: contract.TrainingConfig,
        hyperparameters: T,
        channels: Mapping[str, Path],
        stop: Stop,
    ) -> None:
        """Make the directories of model and output.

        Raises: PlatformError if they cannot be made.
        """
        self.hyperparameters = hyperparameters
        self.channels = channels
        """Directory of each channel that the job has, by its declared name."""
        self.model_dir = layout.model
        self.output_dir = layout.output_data
        self.hosts = config.resources.hosts
        """Names of all hosts, the leader first."""
        self.rank = config.resources.rank
        """Index of this host among them."""
        self.stop = stop
        self.layout = layout
        """Where everything lies below `/opt/ml`."""
        self.config = config
        """What the platform's files say: content types, distribution, network interface."""
        _make_directory(self.model_dir, "model")
        _make_directory(self.output_dir, "output")

    @property
    def checkpoint_dir(self) -> Path:
        """Kept across spot interruptions: look here for a checkpoint first. It is made when it is asked for."""
        return _make_directory(self.layout.checkpoints, "checkpoint")

    @property
    def should_stop(self) -> bool:
        """Becomes true when the platform stops the job: save, and return."""
        return self.stop.requested

    def log_metrics(self, **metrics: float) -> None:
        """Print metrics as one line that the metric definitions find again; what is not finite is left out."""
        print(contract.format_metrics(metrics), flush=True)


def _make_directory(directory: Path, name: str) -> Path:
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        message = f"the {name} directory {directory} cannot be written: {error}"
        raise PlatformError(message) from error
    return directory


@dataclasses.dataclass(frozen=True)
class Algorithm:
    """What is known of an algorithm without running it."""

    name: str
    hyperparameters: type
    parse: Callable[[Mapping[str, str]], tuple[Any, list[str]]]
    """Makes the hyperparameters of the platform's strings; also gives warnings."""
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
    return read(module, path.parent.name if path.name == FILE_NAME else path.stem)


def read(module: ModuleType, name: str) -> Algorithm:
    """Read what a module declares.

    Raises: UserError that names everything that is wrong with it.
    """
    declared = getattr(module, "Hyperparameters", _NoHyperparameters)
    algorithm = Algorithm(
        name=name,
        hyperparameters=declared,
        parse=getattr(
            module, "parse_hyperparameters", functools.partial(hyperparameters.parse, declared)
        ),
        channels=tuple(getattr(module, "CHANNELS", ())),
        metrics=tuple(getattr(module, "METRICS", ())),
        **{function: getattr(module, function, None) for function in ("train", "load", "predict")},
    )
    faults = _find_faults(algorithm)
    if faults:
        summary = f"{module.__file__} is no algorithm"
        raise UserError.from_faults(summary, faults)
    return algorithm


def split_channel(declared: str) -> tuple[list[str], bool]:
    """Take an entry of CHANNELS apart: the names, the first of them its own, and whether it is required."""
    return declared.removesuffix("?").split("|"), not declared.endswith("?")


def name_channels(
    declared: Sequence[str], layout: contract.Layout, config: contract.TrainingConfig
) -> dict[str, Path]:
    """Give the directory of each channel that the job has, by the name that it is declared with, if it is.

    Raises: UserError that tells which are missing, and which there are.
    """
    entries = [split_channel(entry) for entry in declared]
    there = {name: layout.channel(name) for name in config.channels}
    if not layout.input_data_config.exists():  # a plain `docker run`
        known = {name: layout.channel(name) for names, _ in entries for name in names}
        there = {name: directory for name, directory in known.items() if directory.is_dir()}
    faults = []
    for names, is_required in entries:
        found = next((name for name in names if name in there), "")
        if found:
            there[names[0]] = there.pop(found)
        elif is_required and len(config.resources.hosts) > 1:
            there[names[0]] = layout.channel(
                names[0]
            )  # DS-7: absent on a host, as if its shard were empty
        elif is_required:
            faults.append(
                f"there is no {names[0]} channel: one named {' or '.join(map(repr, names))} is needed"
            )
    if faults:
        message = f"{'; '.join(faults)}; the job's channels are {', '.join(sorted(config.channels)) or 'none'}"
        raise UserError(message)
    return there


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
        for entry in algorithm.channels
        for name in split_channel(entry)[0]
        if not contract.CHANNEL_NAME_PATTERN.fullmatch(name)
    ]
    faults += [
        f"metric {name!r} must be a name like validation_loss"
        for name in algorithm.metrics
        if not name.isidentifier()
    ]
    return faults
