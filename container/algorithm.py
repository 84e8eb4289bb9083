"""An algorithm in one typed file, and what the platform can be told of it.

A user's `algorithm.py` holds

    @dataclass(frozen=True)
    class Hyperparameters:                      # each field declared by `field`: default, effect, range
        epochs: int = field(10, "passes over the data", low=1, high=100)

    def train(job: Job) -> None: ...            # leaves the model in job.model_dir
    def load(model_dir: Path) -> Model: ...     # these two if it is to be served
    def predict(model: Model, data: Any) -> Any: ...

and may hold METRICS (names that `job.log_metrics` is given) and CHANNELS (names; one that ends in `?` may be absent).
From these come validation, help, tuning ranges, metric definitions and the request of CreateAlgorithm. The bundled
network is described in the same way.

Rules of this file: standard library only; the user's file is imported by `load`, in the process that runs it.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import os
import re
import signal
import sys
import typing
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
_CONTENT_TYPES: Final = ("application/json", "text/csv", "application/x-npy")
_TUNABLE_MAXIMUM: Final = 30  # HPO-5


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


def bundled() -> Algorithm:
    """Describe the network that the image brings."""
    from container.training import settings

    return Algorithm(
        name="byo-container-toolkit",
        hyperparameters=settings.Settings,
        channels=("training", "validation?", "test?", "pretrained?"),
        metrics=contract.METRIC_NAMES,
    )


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


# What the platform is told


def describe_hyperparameters(algorithm: Algorithm) -> list[dict[str, Any]]:
    """Describe the hyperparameters as `SupportedHyperParameters` of CreateAlgorithm."""
    hints = typing.get_type_hints(algorithm.hyperparameters)
    described = []
    for declared in dataclasses.fields(algorithm.hyperparameters):
        rule: Rule = declared.metadata["rule"]
        kind, values = _describe_type(hints[declared.name], rule)
        entry: dict[str, Any] = {
            "Name": declared.name,
            "Description": rule.effect + (f" ({rule.unit})" if rule.unit else ""),
            "Type": kind,
            "IsTunable": bool(values),
            "IsRequired": False,
        }
        if values:
            entry["Range"] = values
        if declared.default not in (None, "", dataclasses.MISSING):
            default = declared.default
            entry["DefaultValue"] = default if isinstance(default, str) else json.dumps(default)
        described.append(entry)
    return described


def describe_tuning(algorithm: Algorithm) -> dict[str, Any]:
    """Describe what may be tuned as `ParameterRanges` of CreateHyperParameterTuningJob: a start to be narrowed."""
    ranges: dict[str, list[dict[str, Any]]] = {
        f"{kind}ParameterRanges": [] for kind in ("Integer", "Continuous", "Categorical")
    }
    for entry in describe_hyperparameters(algorithm):
        if not entry["IsTunable"]:
            continue
        if entry["Type"] == "Categorical":
            values = entry["Range"]["CategoricalParameterRangeSpecification"]["Values"]
            ranges["CategoricalParameterRanges"].append({"Name": entry["Name"], "Values": values})
            continue
        limits = entry["Range"][f"{entry['Type']}ParameterRangeSpecification"]
        low, high = float(limits["MinValue"]), float(limits["MaxValue"])
        scale = "Logarithmic" if low > 0 and high / low >= 100 else "Linear"
        ranges[f"{entry['Type']}ParameterRanges"].append({"Name": entry["Name"], **limits, "ScalingType": scale})
    return ranges


def describe_metrics(algorithm: Algorithm) -> list[dict[str, str]]:
    """Describe the metrics as `MetricDefinitions`: the regexes find what `log_metrics` prints (HPO-1)."""
    return [{"Name": name, "Regex": rf"\b{re.escape(name)}=([0-9.eE+-]+);"} for name in algorithm.metrics]


def describe_algorithm(algorithm: Algorithm, image: str) -> dict[str, Any]:
    """Describe all of it as the request of CreateAlgorithm."""
    objectives = [
        {"Type": "Minimize" if re.search("loss|error|_time", name) else "Maximize", "MetricName": name}
        for name in algorithm.metrics
        if name != "epoch"
    ]
    request: dict[str, Any] = {
        "AlgorithmName": re.sub(r"[^a-zA-Z0-9]+", "-", algorithm.name).strip("-")[:63] or "algorithm",
        "TrainingSpecification": {
            "TrainingImage": image,
            "SupportedHyperParameters": describe_hyperparameters(algorithm),
            "SupportedTrainingInstanceTypes": ["ml.m5.large", "ml.c5.xlarge", "ml.c5.4xlarge"],
            "SupportsDistributedTraining": False,
            "MetricDefinitions": describe_metrics(algorithm),
            "TrainingChannels": [
                {
                    "Name": name.rstrip("?"),
                    "IsRequired": not name.endswith("?"),
                    "SupportedContentTypes": ["*/*"],
                    "SupportedInputModes": ["File", "FastFile"],
                }
                for name in algorithm.channels or ("training",)
            ],
            "SupportedTuningJobObjectiveMetrics": objectives,
        },
    }
    if algorithm.predict or algorithm.train is None:
        request["InferenceSpecification"] = {
            "Containers": [{"Image": image}],
            "SupportedRealtimeInferenceInstanceTypes": ["ml.m5.large", "ml.c5.xlarge"],
            "SupportedTransformInstanceTypes": ["ml.m5.large", "ml.c5.xlarge"],
            "SupportedContentTypes": list(_CONTENT_TYPES),
            "SupportedResponseMIMETypes": list(_CONTENT_TYPES),
        }
    return request


def _describe_type(hint: Any, rule: Rule) -> tuple[str, dict[str, Any]]:
    """Give the platform's type, and the range in its words; an empty range means that it cannot be tuned."""
    parts = [part for part in typing.get_args(hint) if part is not type(None)] if typing.get_args(hint) else [hint]
    choices = ["true", "false"] if parts[0] is bool else [str(choice) for choice in rule.choices]
    if choices:
        return "Categorical", {"CategoricalParameterRangeSpecification": {"Values": choices}}
    kind = {int: "Integer", float: "Continuous"}.get(parts[0]) if len(parts) == 1 else None
    if kind is None:
        return "FreeText", {}
    if rule.low is None or rule.high is None:
        return kind, {}
    number = int if kind == "Integer" else float
    limits = {"MinValue": str(number(rule.low)), "MaxValue": str(number(rule.high))}
    return kind, {f"{kind}ParameterRangeSpecification": limits}


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


# Commands


def describe(argv: Sequence[str]) -> int:
    """Print what `python -m container describe [FILE] [WHAT] [--image URI]` asks for; give the exit code."""
    import argparse

    parser = argparse.ArgumentParser(
        prog="python -m container describe", description="Describe an algorithm in the platform's words."
    )
    parser.add_argument("file", nargs="?", type=Path, help=f"a file such as {FILE_NAME}; none: the bundled network")
    parser.add_argument("--as", dest="what", choices=("help", "algorithm", "tuning", "metrics"), default="help")
    parser.add_argument(
        "--image", default="123456789012.dkr.ecr.eu-west-1.amazonaws.com/byo:latest", help="image's URI"
    )
    options = parser.parse_args(argv)
    try:
        algorithm = load(options.file) if options.file else bundled()
    except UserError as error:
        print(error, file=sys.stderr)
        return 1
    if options.what == "help":
        print(hyperparameters.format_table(algorithm.hyperparameters), end="")
        return 0
    described: Any = describe_metrics(algorithm)
    if options.what == "algorithm":
        described = describe_algorithm(algorithm, options.image)
    elif options.what == "tuning":
        described = describe_tuning(algorithm)
    print(json.dumps(described, indent=2))
    return 0


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
