"""The strategies that choose which hyperparameters to try next.

Rules of this file: pure, except for the random generators.
"""

import itertools
import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from container.errors import UserError, name_installation
from local_test.aws.sagemaker.tuning.ranges import Range


def make_searcher(
    config: Mapping[str, Any], ranges: Sequence[Range], index: int, tried: int
) -> "Searcher":
    """Return the searcher of the training job definition number `index`.

    `tried` is the number of points that an earlier process tried; they are not repeated.
    """
    if config["Strategy"] == "Grid":
        return GridSearcher(ranges, tried)
    seed = config.get("RandomSeed")
    if seed is not None:
        seed += 1000 * index + tried
    if config["Strategy"] == "Bayesian":
        return BayesianSearcher(ranges, seed)
    return RandomSearcher(ranges, seed)


class RandomSearcher:
    """Random: every point is equally likely."""

    def __init__(self, ranges: Sequence[Range], seed: int | None) -> None:
        self._ranges = ranges
        self._random = random.Random(seed)  # noqa: S311 - a search that the request's seed repeats

    def propose(self) -> list[float]:
        """Return a random point."""
        return [self._random.random() for _ in self._ranges]

    def learn(self, point: Sequence[float], value: float) -> None:
        """Learn nothing."""


class GridSearcher:
    """Grid: every combination of categorical values, once."""

    def __init__(self, ranges: Sequence[Range], tried: int = 0) -> None:
        combinations = itertools.product(*map(_centers, ranges))
        self._points: Iterator[tuple[float, ...]] = itertools.islice(combinations, tried, None)

    def propose(self) -> list[float] | None:
        """Return the next combination."""
        point = next(self._points, None)
        return None if point is None else list(point)

    def learn(self, point: Sequence[float], value: float) -> None:
        """Learn nothing."""


def _centers(item: Range) -> list[float]:
    return [(index + 0.5) / len(item.values) for index in range(len(item.values))]


class BayesianSearcher:
    """Bayesian: a tree-structured Parzen estimator proposes points that are likely to be better."""

    def __init__(self, ranges: Sequence[Range], seed: int | None) -> None:
        try:
            import optuna  # noqa: PLC0415 - takes a second that the other strategies do not need
        except ModuleNotFoundError as error:
            raise UserError(
                f"Bayesian tuning needs Optuna ({error}); run {name_installation('tuning')}, or "
                "choose Random, Grid or Hyperband"
            ) from error

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        sampler = optuna.samplers.TPESampler(
            seed=seed, multivariate=False, constant_liar=True, n_startup_trials=5
        )
        self._create_trial = optuna.trial.create_trial
        self._study = optuna.create_study(direction="maximize", sampler=sampler)
        self._space: dict[str, Any] = {}
        for item in ranges:
            if item.kind == "Categorical":
                choices = optuna.distributions.CategoricalDistribution(_centers(item))
                self._space[item.name] = choices
            else:
                self._space[item.name] = optuna.distributions.FloatDistribution(0.0, 1.0)
        self._open: dict[tuple[float, ...], Any] = {}

    def propose(self) -> list[float]:
        """Return the most promising point; points without a result yet count as bad ones."""
        trial = self._study.ask(self._space)
        point = [min(trial.params[name], 1 - 1e-12) for name in self._space]
        self._open[tuple(point)] = trial
        return point

    def learn(self, point: Sequence[float], value: float) -> None:
        """Learn a result, also of a point that another process or tuning job proposed."""
        trial = self._open.pop(tuple(point), None)
        if trial is not None:
            self._study.tell(trial, value)
            return
        params = dict(zip(self._space, point, strict=True))
        trial = self._create_trial(params=params, distributions=self._space, value=value)
        self._study.add_trial(trial)


Searcher = RandomSearcher | GridSearcher | BayesianSearcher
"""Proposes points, and learns their results, of which greater is better."""
