"""An algorithm in the platform's words: hyperparameters, tuning ranges, metric definitions, CreateAlgorithm's request.

A user's `algorithm.py` and the bundled network are described in the same way, from their
declarations alone.

Rules of this file: standard library only; pure, but for the command at its end.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import re
import sys
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from container import algorithm as algorithms
from container import hyperparameters
from container.algorithm import Algorithm
from container.errors import UserError
from container.hyperparameters import Rule

_CONTENT_TYPES: Final = ("application/json", "text/csv", "application/x-npy")


def bundled() -> Algorithm:
    """Describe the network that the image brings."""
    from container.training import bundled

    return bundled.BUNDLED


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
        ranges[f"{entry['Type']}ParameterRanges"].append(
            {"Name": entry["Name"], **limits, "ScalingType": scale}
        )
    return ranges


def describe_metrics(algorithm: Algorithm) -> list[dict[str, str]]:
    """Describe the metrics as `MetricDefinitions`: the regexes find what `log_metrics` prints (HPO-1)."""
    return [
        {"Name": name, "Regex": rf"\b{re.escape(name)}=([0-9.eE+-]+);"}
        for name in algorithm.metrics
    ]


def describe_algorithm(algorithm: Algorithm, image: str) -> dict[str, Any]:
    """Describe all of it as the request of CreateAlgorithm."""
    objectives = [
        {
            "Type": "Minimize" if re.search("loss|error|_time", name) else "Maximize",
            "MetricName": name,
        }
        for name in algorithm.metrics
        if name != "epoch"
    ]
    request: dict[str, Any] = {
        "AlgorithmName": re.sub(r"[^a-zA-Z0-9]+", "-", algorithm.name).strip("-")[:63]
        or "algorithm",
        "TrainingSpecification": {
            "TrainingImage": image,
            "SupportedHyperParameters": describe_hyperparameters(algorithm),
            "SupportedTrainingInstanceTypes": ["ml.m5.large", "ml.c5.xlarge", "ml.c5.4xlarge"],
            "SupportsDistributedTraining": False,
            "MetricDefinitions": describe_metrics(algorithm),
            "TrainingChannels": [
                {
                    "Name": algorithms.split_channel(entry)[0][0],
                    "IsRequired": algorithms.split_channel(entry)[1],
                    "SupportedContentTypes": ["*/*"],
                    "SupportedInputModes": ["File", "FastFile"],
                }
                for entry in algorithm.channels or ("training",)
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
    parts = (
        [part for part in typing.get_args(hint) if part is not type(None)]
        if typing.get_args(hint)
        else [hint]
    )
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


def main(argv: Sequence[str]) -> int:
    """Print what `python -m container describe [FILE] [WHAT] [--image URI]` asks for; give the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m container describe",
        description="Describe an algorithm in the platform's words.",
    )
    parser.add_argument(
        "file",
        nargs="?",
        type=Path,
        help=f"a file such as {algorithms.FILE_NAME}; none: the bundled network",
    )
    parser.add_argument(
        "--as", dest="what", choices=("help", "algorithm", "tuning", "metrics"), default="help"
    )
    parser.add_argument(
        "--image",
        default="123456789012.dkr.ecr.eu-west-1.amazonaws.com/byo:latest",
        help="image's URI",
    )
    options = parser.parse_args(argv)
    try:
        algorithm = algorithms.load(options.file) if options.file else bundled()
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
