"""`describe`: an algorithm's hyperparameters, tuning ranges, metrics and CreateAlgorithm request.

A user's `algorithm.py` and the bundled network are described in the same way, from their
declarations.

Rules of this file: standard library only; pure, except for the command at its end.
"""

import argparse
import dataclasses
import json
import re
import sys
import sysconfig
import traceback
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from container import algorithm as algorithms
from container import contract, hyperparameters
from container.algorithm import Algorithm
from container.errors import UserError, name_command
from container.hyperparameters import Rule

_LIBRARIES: Final = (Path(__file__).parents[1], Path(sysconfig.get_path("stdlib")))
_CONTENT_TYPES: Final = ("application/json", "text/csv", "application/x-npy")


def bundled() -> Algorithm:
    """Return the bundled network's declarations."""
    from container.training import bundled

    return algorithms.read(bundled, bundled.NAME)


def describe_hyperparameters(algorithm: Algorithm) -> list[dict[str, Any]]:
    """Describe the hyperparameters as `SupportedHyperParameters` of CreateAlgorithm."""
    hints = typing.get_type_hints(algorithm.hyperparameters)
    described = []
    for declared in dataclasses.fields(algorithm.hyperparameters):
        rule: Rule = declared.metadata["rule"]
        kind, values = _describe_type(hints[declared.name], rule)
        unit = f" ({rule.unit})" if rule.unit else ""
        entry: dict[str, Any] = {
            "Name": declared.name,
            "Description": rule.effect + unit,
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
    """Describe what may be tuned as `ParameterRanges` of CreateHyperParameterTuningJob.

    The ranges are the widest possible: a start, to be narrowed.
    """
    ranges: dict[str, list[dict[str, Any]]] = {
        f"{kind}ParameterRanges": [] for kind in ("Integer", "Continuous", "Categorical")
    }
    for entry in describe_hyperparameters(algorithm):
        if not entry["IsTunable"]:
            continue
        kind = entry["Type"]
        tuned = {"Name": entry["Name"], **entry["Range"][f"{kind}ParameterRangeSpecification"]}
        if kind != "Categorical":
            low = float(tuned["MinValue"])
            spans_decades = low > 0 and float(tuned["MaxValue"]) / low >= 100
            tuned["ScalingType"] = "Logarithmic" if spans_decades else "Linear"
        ranges[f"{kind}ParameterRanges"].append(tuned)
    return ranges


def describe_metrics(algorithm: Algorithm) -> list[dict[str, str]]:
    """Describe the metrics as `MetricDefinitions`, which find what `log_metrics` prints."""
    return contract.define_metrics(algorithm.metrics)


def describe_algorithm(algorithm: Algorithm, image: str) -> dict[str, Any]:
    """Describe everything as the request of CreateAlgorithm."""
    name = re.sub(r"[^a-zA-Z0-9]+", "-", algorithm.name).strip("-")[:63]
    request: dict[str, Any] = {
        "AlgorithmName": name or "algorithm",
        "TrainingSpecification": {
            "TrainingImage": image,
            "SupportedHyperParameters": describe_hyperparameters(algorithm),
            "SupportedTrainingInstanceTypes": ["ml.m5.large", "ml.c5.xlarge", "ml.c5.4xlarge"],
            "SupportsDistributedTraining": algorithm.distributed,
            "MetricDefinitions": describe_metrics(algorithm),
            "TrainingChannels": [
                _describe_channel(entry) for entry in algorithm.channels or ("training",)
            ],
            "SupportedTuningJobObjectiveMetrics": [
                _describe_objective(metric) for metric in algorithm.metrics if metric != "epoch"
            ],
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


def _describe_channel(declared: str) -> dict[str, Any]:
    names, is_required = algorithms.split_channel(declared)
    return {
        "Name": names[0],
        "IsRequired": is_required,
        "SupportedContentTypes": ["*/*"],
        "SupportedInputModes": ["File", "FastFile"],
    }


def _describe_objective(metric: str) -> dict[str, str]:
    is_cost = re.search("loss|error|_time", metric)
    return {"Type": "Minimize" if is_cost else "Maximize", "MetricName": metric}


def _describe_type(hint: Any, rule: Rule) -> tuple[str, dict[str, Any]]:
    """Return the platform's type and range; the range of what cannot be tuned is empty."""
    parts = [part for part in typing.get_args(hint) if part is not type(None)] or [hint]
    choices = [str(choice) for choice in rule.choices]
    if parts[0] is bool:
        choices = ["true", "false"]
    if choices:
        return "Categorical", {"CategoricalParameterRangeSpecification": {"Values": choices}}
    kind = {int: "Integer", float: "Continuous"}.get(parts[0])
    if kind is None or len(parts) > 1:
        return "FreeText", {}
    if rule.low is None or rule.high is None:
        return kind, {}
    number = int if kind == "Integer" else float
    limits = {"MinValue": str(number(rule.low)), "MaxValue": str(number(rule.high))}
    return kind, {f"{kind}ParameterRangeSpecification": limits}


def _find_own_line(error: BaseException, file: Path) -> str:
    """Return the last line of the user's code that led to an error, or the file if none did."""
    places = [(name, line) for name, line, *_ in traceback.extract_tb(error.__traceback__)]
    if isinstance(error, SyntaxError) and error.filename:
        places.append((error.filename, error.lineno))
    found = str(file)
    for name, line in places:
        parents = Path(name).parents
        is_library = "-packages/" in name or any(folder in parents for folder in _LIBRARIES)
        if file.absolute().parent in parents and not is_library:
            found = f"{name}:{line}"
    return found


def main(argv: Sequence[str]) -> int:
    """Run `describe` and return its exit code."""
    parser = argparse.ArgumentParser(
        prog=name_command("describe"),
        description="Describe an algorithm as SageMaker's API expects it.",
    )
    parser.add_argument(
        "file",
        nargs="?",
        type=Path,
        help=f"a file such as {algorithms.FILE_NAME}; default: the bundled network",
    )
    parser.add_argument(
        "--as", dest="what", choices=("help", "algorithm", "tuning", "metrics"), default="help"
    )
    parser.add_argument(
        "--image",
        default="123456789012.dkr.ecr.eu-west-1.amazonaws.com/byo:latest",
        help="URI of the image in the CreateAlgorithm request",
    )
    options = parser.parse_args(argv)
    try:
        algorithm = algorithms.load(options.file) if options.file else bundled()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except Exception as error:  # noqa: BLE001 - whatever the user's file raises
        place = _find_own_line(error, options.file)
        print(f"error: {place}: {type(error).__name__}: {error}", file=sys.stderr)
        return 1
    if options.what == "help":
        print(hyperparameters.format_table(algorithm.hyperparameters), end="")
        return 0
    describe = {
        "algorithm": lambda found: describe_algorithm(found, options.image),
        "tuning": describe_tuning,
        "metrics": describe_metrics,
    }
    print(json.dumps(describe[options.what](algorithm), indent=2))
    return 0
