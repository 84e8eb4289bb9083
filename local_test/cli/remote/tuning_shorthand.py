"""Build CreateHyperParameterTuningJob requests from a training job's request and a few values."""

import math
import re
from collections.abc import Mapping
from typing import Any, Final

from container.errors import UserError

Request = dict[str, Any]
STRATEGIES: Final = ("Bayesian", "Random", "Hyperband", "Grid")
_SCALES: Final = {
    "auto": "Auto",
    "linear": "Linear",
    "log": "Logarithmic",
    "reverse-log": "ReverseLogarithmic",
}
_NUMBER: Final = r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?"
_INTEGER: Final = re.compile("[-+]?[0-9]+")
_INTERVAL: Final = re.compile(f"({_NUMBER}):({_NUMBER})(?::([a-z-]+))?")
_FORMS: Final = (
    "expected LOW:HIGH, LOW:HIGH:SCALE or two or more values such as adam,sgd; "
    f"SCALE is one of {', '.join(_SCALES)}"
)


def parse_ranges(texts: Mapping[str, str]) -> dict[str, list[Request]]:
    """Return the ParameterRanges of texts such as `0.001:0.1:log`, `1:8` or `adam,sgd`.

    Two integers make an integer range, other numbers a continuous one, values a categorical one.

    Raises: UserError that lists every fault.
    """
    ranges: dict[str, list[Request]] = {}
    faults: list[str] = []
    for name, text in texts.items():
        match = _INTERVAL.fullmatch(text)
        if match is None and "," in text:
            values = text.split(",")
            ranges.setdefault("CategoricalParameterRanges", []).append(
                {"Name": name, "Values": values}
            )
            fault = "a value is empty" if "" in values else ""
        elif match is None:
            fault = _FORMS
        else:
            kind, item = _make_interval(name, match)
            ranges.setdefault(kind, []).append(item)
            fault = _check_interval(kind, item, match[3])
        if fault:
            faults.append(f"{name}={text}: {fault}")
    if faults:
        raise UserError.from_faults("--range is refused", faults)
    return ranges


def _make_interval(name: str, match: re.Match[str]) -> tuple[str, Request]:
    low, high, scale = match.groups()
    are_integers = _INTEGER.fullmatch(low) and _INTEGER.fullmatch(high)
    kind = "IntegerParameterRanges" if are_integers else "ContinuousParameterRanges"
    item = {"Name": name, "MinValue": low, "MaxValue": high}
    return kind, item | {"ScalingType": _SCALES.get(scale or "auto", "")}


def _check_interval(kind: str, item: Request, scale: str | None) -> str:
    """Return what is wrong with a range of numbers, or an empty string.

    Source: ContinuousParameterRange and IntegerParameterRange of the API.
    """
    low = float(item["MinValue"])
    high = float(item["MaxValue"])
    scaling = item["ScalingType"]
    if not scaling:
        return f"unknown scale {scale!r}; choose one of {', '.join(_SCALES)}"
    if not math.isfinite(low) or not math.isfinite(high):
        return "the numbers are too large"
    if low >= high:
        return "the first number must be less than the second"
    if scaling == "Logarithmic" and low <= 0:
        return "a logarithmic scale needs numbers above 0"
    if scaling == "ReverseLogarithmic" and (kind.startswith("Integer") or low < 0 or high >= 1):
        return "a reverse logarithmic scale needs fractions from 0 to less than 1"
    return ""


def make_config(
    objective: tuple[str, str],
    ranges: Mapping[str, Any],
    strategy: str,
    limits: Mapping[str, int],
    *,
    stops_early: bool,
) -> Request:
    """Build a HyperParameterTuningJobConfig.

    `objective` is `Maximize` or `Minimize`, and the metric; `limits` are its ResourceLimits.
    """
    return {
        "Strategy": strategy,
        "HyperParameterTuningJobObjective": {"Type": objective[0], "MetricName": objective[1]},
        "ResourceLimits": dict(limits),
        "ParameterRanges": dict(ranges),
        "TrainingJobEarlyStoppingType": "Auto" if stops_early else "Off",
    }


def tuning_request(training: Mapping[str, Any], config: Mapping[str, Any]) -> Request:
    """Build a CreateHyperParameterTuningJob request whose training jobs are as `training`.

    Raises: UserError if a hyperparameter has both a value and a range, or no metric definition
        finds the objective.
    """
    definition = dict(training)
    name = definition.pop("TrainingJobName")
    static = definition.pop("HyperParameters", {})
    tuned = {item["Name"] for items in config["ParameterRanges"].values() for item in items}
    if both := sorted(tuned & static.keys()):
        raise UserError(f"{', '.join(both)}: given by -p and by --range; leave out one of them")
    objective = config["HyperParameterTuningJobObjective"]["MetricName"]
    definitions = definition["AlgorithmSpecification"].get("MetricDefinitions", ())
    metrics = [item["Name"] for item in definitions]
    if objective not in metrics:
        raise UserError(
            f"no metric definition finds the objective {objective!r}; add one, as "
            f"--metric '{objective}=REGEX' (defined: {', '.join(metrics) or 'none'})"
        )
    if static:
        definition["StaticHyperParameters"] = static
    return {
        "HyperParameterTuningJobName": name,
        "HyperParameterTuningJobConfig": dict(config),
        "TrainingJobDefinition": definition,
    }
