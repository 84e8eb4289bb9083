"""An algorithm in one typed file: its declarations, and its training job.

A user's `algorithm.py`, like `container.training.bundled` for the bundled network, holds

    @dataclass(frozen=True)
    class Hyperparameters:                      # `field`: default, effect, range
        epochs: int = field(10, "passes over the data", low=1, high=100)

    def train(job: Job) -> None: ...            # writes the model to job.model_dir
    def load(model_dir: Path) -> Model: ...     # this and the next to serve the model
    def predict(model: Model, data: Any) -> Any: ...

and may hold METRICS (names that are passed to `job.log_metrics`), CHANNELS (names; `validation?`
may be absent, `training|train` has two names), DISTRIBUTED (true if `train` uses all hosts of a job
together) and `parse_hyperparameters(raw)`, which returns the dataclass and a list of warnings, for
defaults that depend on each other.

Rules of this file: standard library only; the user's file is imported by `load`, in the process
that runs it. A user's algorithm gets everything that the bundled network gets.
"""

import dataclasses
import difflib
import functools
import importlib.util
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Final, Generic, Protocol, TypeVar

from container import contract, hyperparameters
from container.data import set_names
from container.errors import PlatformError, UserError, describe_absence
from container.hyperparameters import Rule, field

__all__ = ["Algorithm", "Job", "PlatformError", "Stop", "UserError", "field"]

_LIKENESS: Final = 0.8  # `trian` is meant to be `train`, and `text` is not `test`
FILE_NAME: Final = "algorithm.py"
T = TypeVar("T")


class Stop(Protocol):
    """The platform's request to stop the job."""

    requested: bool
    """Becomes true when the platform stops the job."""
    worth_saving: bool
    """Set it once there is something to save: a stop before that may end the process at once."""
    saved: str
    """Set it to a description of what is on disk, logged if saving the rest takes too long."""


class Job(Generic[T]):
    """A training job: the argument of `train(job)`, which writes its model to `model_dir`."""

    def __init__(
        self,
        layout: contract.Layout,
        config: contract.TrainingConfig,
        hyperparameters: T,
        channels: Mapping[str, Path],
        stop: Stop,
    ) -> None:
        """Create the model and output directories.

        Raises: PlatformError if they cannot be created.
        """
        self.hyperparameters = hyperparameters
        self.channels = channels
        """Directory of each of the job's channels, by its declared name."""
        self.model_dir = layout.model
        self.output_dir = layout.output_data
        self.hosts = config.resources.hosts
        """Names of all hosts, the leader first."""
        self.rank = config.resources.rank
        """Index of this host among them."""
        self.stop = stop
        self.layout = layout
        """Every path below `/opt/ml`."""
        self.config = config
        """The platform's files: content types, distribution, network interface."""
        _make_directory(self.model_dir, "model")
        _make_directory(self.output_dir, "output")

    @property
    def checkpoint_dir(self) -> Path:
        """Directory kept across spot interruptions: look for a checkpoint here first.

        It is created on first use.
        """
        return _make_directory(self.layout.checkpoints, "checkpoint")

    @property
    def should_stop(self) -> bool:
        """Whether the platform stops the job: save the model and return."""
        return self.stop.requested

    def log_metrics(self, **metrics: float) -> None:
        """Print metrics as one line that the metric definitions match, without infinite and NaN."""
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
    """An algorithm's declarations."""

    name: str
    hyperparameters: type
    parse: Callable[[Mapping[str, str]], tuple[Any, list[str]]]
    """Parses the platform's strings into the hyperparameters and a list of warnings."""
    channels: Sequence[str]
    metrics: Sequence[str]
    distributed: bool = False
    """Whether the hosts of a job train one model together."""
    train: Callable[[Job[Any]], None] | None = None
    load: Callable[[Path], Any] | None = None
    predict: Callable[[Any, Any], Any] | None = None


@dataclasses.dataclass(frozen=True)
class _NoHyperparameters:
    """The hyperparameters of an algorithm that declares none."""


def load(path: Path) -> Algorithm:
    """Import a user's file, which may import the modules beside it.

    Raises: UserError that names every fault.
    """
    sys.path.insert(0, str(path.parent))
    specification = importlib.util.spec_from_file_location(path.stem, path)
    if specification is None or specification.loader is None or not path.is_file():
        if not path.exists():
            raise UserError(describe_absence(path))
        raise UserError(f"{path} is not a Python file; name the file of an algorithm")
    module = importlib.util.module_from_spec(specification)
    sys.modules[path.stem] = module
    specification.loader.exec_module(module)
    return read(module, path.parent.name if path.name == FILE_NAME else path.stem)


def read(module: ModuleType, name: str) -> Algorithm:
    """Read a module's declarations. Raises: UserError that names every fault."""
    declared = getattr(module, "Hyperparameters", _NoHyperparameters)
    default_parse = functools.partial(hyperparameters.parse, declared)
    wrong = [name for name in ("CHANNELS", "METRICS") if not _are_names(getattr(module, name, ()))]
    if wrong:
        raise UserError(
            f"{module.__file__} is not an algorithm: {' and '.join(wrong)} must be a tuple of "
            'names, such as ("accuracy",), with a comma even if there is one'
        )
    algorithm = Algorithm(
        name=name,
        hyperparameters=declared,
        parse=getattr(module, "parse_hyperparameters", default_parse),
        channels=tuple(getattr(module, "CHANNELS", ())),
        metrics=tuple(getattr(module, "METRICS", ())),
        distributed=bool(getattr(module, "DISTRIBUTED", False)),
        **{function: getattr(module, function, None) for function in ("train", "load", "predict")},
    )
    faults = _find_faults(algorithm)
    if faults:
        summary = f"{module.__file__} is not an algorithm"
        raise UserError.from_faults(summary, faults)
    return algorithm


def _are_names(declared: object) -> bool:
    """Return whether something is several texts, and not a text, which is several letters."""
    if not isinstance(declared, (tuple, list, set, frozenset)):
        return False
    return all(isinstance(name, str) for name in declared)


def split_channel(declared: str) -> tuple[list[str], bool]:
    """Split an entry of CHANNELS into its names, its own first, and whether it is required."""
    return declared.removesuffix("?").split("|"), not declared.endswith("?")


def name_channels(
    declared: Sequence[str], layout: contract.Layout, config: contract.TrainingConfig
) -> dict[str, Path]:
    """Return the directory of each of the job's channels, by its declared name if it has one.

    Raises: UserError that names the missing channels, and those that the job has.
    """
    found = _find_channels(declared, layout, config)
    has_peers = len(config.resources.hosts) > 1
    faults = []
    for names, is_required in map(split_channel, declared):
        own = names[0]
        alias = next(filter(found.__contains__, names), None)
        if alias is not None:
            found[own] = found.pop(alias)
        elif is_required and has_peers:
            found[own] = layout.channel(own)  # DS-7: an empty shard
        elif is_required:
            possible = " or ".join(map(repr, names))
            faults.append(f"the job has no {own} channel: it needs one named {possible}")
    faults += _find_misspelt(declared, found)
    if faults:
        present = ", ".join(sorted(config.channels)) or "none"
        raise UserError(f"{'; '.join(faults)}; the job's channels are {present}")
    return found


def _find_misspelt(declared: Sequence[str], found: Iterable[str]) -> list[str]:
    """Name the channels that are not declared, but are called like one that the job lacks."""
    groups = [split_channel(entry)[0] for entry in declared]
    known = {name: names[0] for names in groups for name in names}
    free = [name for name in known if known[name] not in found]
    faults = []
    for name in sorted(set(found) - known.keys() - {contract.CODE_CHANNEL}):
        near = difflib.get_close_matches(name.lower(), free, n=1, cutoff=_LIKENESS)
        role = set_names.find_role(name)[0]
        meant = role if role in free else "".join(near)
        if meant:
            faults.append(f"unknown channel {name!r}: did you mean {meant!r}?")
    return faults


def _find_channels(
    declared: Sequence[str], layout: contract.Layout, config: contract.TrainingConfig
) -> dict[str, Path]:
    """Return the directories of the job's channels; in a plain `docker run`, those that exist."""
    if layout.input_data_config.exists():
        return {name: layout.channel(name) for name in config.channels}
    known = [layout.channel(name) for entry in declared for name in split_channel(entry)[0]]
    return {directory.name: directory for directory in known if directory.is_dir()}


def _find_faults(algorithm: Algorithm) -> list[str]:
    faults = _find_undeclared(algorithm.hyperparameters)
    if algorithm.train is None and algorithm.predict is None:
        faults.append("it has neither train(job) nor load(model_dir) and predict(model, data)")
    if (algorithm.load is None) != (algorithm.predict is None):
        faults.append("load(model_dir) and predict(model, data) belong together")
    names = [name for entry in algorithm.channels for name in split_channel(entry)[0]]
    for name in names:
        if not contract.CHANNEL_NAME_PATTERN.fullmatch(name):
            faults.append(f"channel {name!r} must be up to 64 letters, digits, '.', '-' and '_'")
    for name in algorithm.metrics:
        if not name.isidentifier():
            faults.append(f"metric {name!r} must be a name like validation_loss")
    return faults


def _find_undeclared(declared: Any) -> list[str]:
    if not (isinstance(declared, type) and dataclasses.is_dataclass(declared)):
        return ["Hyperparameters must be a dataclass"]
    return [
        f"declare hyperparameter {item.name!r} with container.algorithm.field(default, effect, ...)"
        for item in dataclasses.fields(declared)
        if not isinstance(item.metadata.get("rule"), Rule)
    ]
