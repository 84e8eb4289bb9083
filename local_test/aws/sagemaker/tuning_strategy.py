"""How a tuning job looks for hyperparameters: ranges and their scales, what to try next, what to stop early.

A point is a list of numbers in [0, 1), one for each range in the order of the request; ranges turn
it into the strings that a training job gets. So scales are one place's matter, and every strategy
searches the same cube.

Rules of this file: pure but for the random generators that it is given.
"""

from __future__ import annotations

import itertools
import math
import random
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

_LOGARITHMIC_FROM: Final = (
    100  # Auto: greatest over least value from which a range is searched by its logarithm
)
_REDUCTION: Final = 3  # Hyperband keeps one of three, the paper's own choice
_COMPLETED_BEFORE_STOPPING: Final = 3  # a median of fewer runs says little


@dataclass(frozen=True)
class Range:
    """One hyperparameter's range."""

    name: str
    kind: str
    """`Integer`, `Continuous` or `Categorical`."""
    low: float = 0
    high: float = 0
    scaling: str = "Linear"
    values: tuple[str, ...] = ()

    def format(self, position: float) -> str:
        """Give the value at a position in [0, 1), as a training job gets it."""
        if self.kind == "Categorical":
            return self.values[min(int(position * len(self.values)), len(self.values) - 1)]
        # An integer has the half-open cell around it, so that the two ends are as likely as the
        # rest.
        low, high = (
            (self.low, self.high)
            if self.kind == "Continuous"
            else (self.low - 0.5, self.high + 0.5)
        )
        if self.scaling == "Logarithmic":
            low = max(low, self.low / 2)
            value = math.exp(math.log(low) + position * (math.log(high) - math.log(low)))
        elif self.scaling == "ReverseLogarithmic":
            value = 1 - math.exp(
                math.log(1 - low) + position * (math.log(1 - high) - math.log(1 - low))
            )
        else:
            value = low + position * (high - low)
        value = min(max(value, self.low), self.high)
        return str(round(value)) if self.kind == "Integer" else repr(value)

    def locate(self, text: str) -> float | None:
        """Give the position of a value; None if the range does not hold it."""
        if self.kind == "Categorical":
            return (
                (self.values.index(text) + 0.5) / len(self.values) if text in self.values else None
            )
        value = float(text)
        if not self.low <= value <= self.high:
            return None
        low, high = (
            (self.low, self.high)
            if self.kind == "Continuous"
            else (self.low - 0.5, self.high + 0.5)
        )
        if self.scaling == "Logarithmic":
            low = max(low, self.low / 2)
            position = (math.log(value) - math.log(low)) / (math.log(high) - math.log(low) or 1)
        elif self.scaling == "ReverseLogarithmic":
            position = (math.log(1 - value) - math.log(1 - low)) / (
                math.log(1 - high) - math.log(1 - low) or 1
            )
        else:
            position = (value - low) / ((high - low) or 1)
        return min(max(position, 0.0), 1 - 1e-12)


def parse_ranges(request: Mapping[str, Any], faults: list[str]) -> list[Range]:
    """Read `ParameterRanges`; faults are added to the list."""
    ranges = []
    for kind in ("Integer", "Continuous"):
        for item in request.get(f"{kind}ParameterRanges", ()):
            convert = float if kind == "Continuous" else int
            try:
                low, high = (convert(item[key]) for key in ("MinValue", "MaxValue"))
            except ValueError:
                found = f"MinValue {item['MinValue']!r} and MaxValue {item['MaxValue']!r}"
                faults.append(f"{item['Name']}: {found} are no {kind} values")
                continue
            scaling = _resolve_scaling(item.get("ScalingType", "Auto"), low, high)
            if not low <= high or not math.isfinite(high - low):
                faults.append(
                    f"{item['Name']}: MinValue {low} must not be greater than MaxValue {high}"
                )
            elif scaling == "Logarithmic" and low <= 0:
                faults.append(
                    f"{item['Name']}: Logarithmic scaling needs MinValue > 0, found {low}"
                )
            elif scaling == "ReverseLogarithmic" and (
                kind == "Integer" or not 0 <= low <= high < 1
            ):
                faults.append(
                    f"{item['Name']}: ReverseLogarithmic scaling needs a Continuous range in [0, 1)"
                )
            else:
                ranges.append(Range(item["Name"], kind, low, high, scaling))
    ranges += [
        Range(item["Name"], "Categorical", values=tuple(item["Values"]))
        for item in request.get("CategoricalParameterRanges", ())
    ]
    names = [item.name for item in ranges]
    faults += [
        f"{name}: has more than one range"
        for name in sorted({name for name in names if names.count(name) > 1})
    ]
    return ranges


def _resolve_scaling(scaling: str, low: float, high: float) -> str:
    if scaling != "Auto":
        return scaling
    return "Logarithmic" if low > 0 and high / low >= _LOGARITHMIC_FROM else "Linear"


class Searcher(Protocol):
    """Proposes points and learns what became of them."""

    def propose(self) -> list[float] | None:
        """Give the next point; None when there is nothing left to try."""

    def learn(self, point: Sequence[float], value: float) -> None:
        """Take the objective's final value at a point, the greater the better."""


class RandomSearcher:
    """Random: every point is as likely as any other."""

    def __init__(self, ranges: Sequence[Range], seed: int | None) -> None:
        self._ranges = ranges
        self._random = random.Random(seed)  # noqa: S311 - a search, and repeatable by the request's seed

    def propose(self) -> list[float]:
        """Give a random point."""
        return [self._random.random() for _ in self._ranges]

    def learn(self, point: Sequence[float], value: float) -> None:
        """Learn nothing."""


class GridSearcher:
    """Grid: every combination of categorical values, once."""

    def __init__(self, ranges: Sequence[Range], tried: int = 0) -> None:
        """Begin after the `tried` combinations that an earlier process has begun."""
        self._points: Iterator[tuple[float, ...]] = itertools.islice(
            itertools.product(*map(_centers, ranges)), tried, None
        )

    def propose(self) -> list[float] | None:
        """Give the next combination."""
        point = next(self._points, None)
        return None if point is None else list(point)

    def learn(self, point: Sequence[float], value: float) -> None:
        """Learn nothing."""


def _centers(item: Range) -> list[float]:
    return [(index + 0.5) / len(item.values) for index in range(len(item.values))]


class BayesianSearcher:
    """Bayesian: a tree-structured Parzen estimator proposes where improvement is likely."""

    def __init__(self, ranges: Sequence[Range], seed: int | None) -> None:
        import optuna  # noqa: PLC0415 - a second that other strategies need not pay

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        sampler = optuna.samplers.TPESampler(
            seed=seed, multivariate=False, constant_liar=True, n_startup_trials=5
        )
        self._optuna = optuna
        self._study = optuna.create_study(direction="maximize", sampler=sampler)
        self._space = {
            item.name: optuna.distributions.CategoricalDistribution(_centers(item))
            if item.kind == "Categorical"
            else optuna.distributions.FloatDistribution(0.0, 1.0)
            for item in ranges
        }
        self._open: dict[tuple[float, ...], Any] = {}

    def propose(self) -> list[float]:
        """Give the point that the estimator likes best; points still under way count as bad ones."""
        trial = self._study.ask(self._space)
        point = [min(trial.params[name], 1 - 1e-12) for name in self._space]
        self._open[tuple(point)] = trial
        return point

    def learn(self, point: Sequence[float], value: float) -> None:
        """Take a result; one that another process or tuning job has proposed is taken as well."""
        trial = self._open.pop(tuple(point), None)
        if trial is not None:
            self._study.tell(trial, value)
        else:
            params = dict(zip(self._space, point, strict=True))
            distributions = self._space
            self._study.add_trial(
                self._optuna.trial.create_trial(
                    params=params, distributions=distributions, value=value
                )
            )


def is_worse_than_median(values: Sequence[float], others: Sequence[Sequence[float]]) -> bool:
    """Tell whether a run should be stopped early (Auto): all values the greater the better, one an epoch.

    It should if its best value so far is below the median of the running averages that completed
    runs had after as many epochs (the rule that the service's guide describes).
    """
    if not values:
        return False
    averages = [statistics.fmean(other[: len(values)]) for other in others if other]
    if len(averages) < _COMPLETED_BEFORE_STOPPING:
        return False
    return max(values) < statistics.median(averages)


def rungs(least: int, most: int, bracket: int) -> list[int]:
    """Give the numbers of epochs at which a bracket of Hyperband compares its runs."""
    levels = []
    level = least * _REDUCTION**bracket
    while level < most:
        levels.append(level)
        level *= _REDUCTION
    return levels


def bracket_count(least: int, most: int) -> int:
    """Give the number of Hyperband's brackets; the last one compares nothing."""
    return int(math.log(most / least) / math.log(_REDUCTION) + 1e-9) + 1


def is_cut(
    values: Sequence[float], others: Sequence[Sequence[float]], levels: Sequence[int]
) -> bool:
    """Tell whether Hyperband drops a run at the rung it has just reached.

    `others` are the values of the other runs of its bracket. A run goes on if it is among the best third of those that
    have reached the rung, itself included; the first ones to come go on.
    """
    if len(values) not in levels:
        return False
    rung = len(values)
    reached = sorted((max(other[:rung]) for other in others if len(other) >= rung), reverse=True)
    if len(reached) + 1 < _REDUCTION:
        return False
    kept = (len(reached) + 1) // _REDUCTION
    return max(values[:rung]) < reached[kept - 1]
