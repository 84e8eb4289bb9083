"""The strategies of a tuning job; no process, no network."""

from __future__ import annotations

import math
import sys

import pytest

from container.errors import UserError
from local_test.aws.sagemaker.tuning import searchers
from local_test.aws.sagemaker.tuning.ranges import Range


def test_grid_gives_every_combination_once_and_goes_on_where_another_process_stopped() -> None:
    ranges = [
        Range("a", "Categorical", values=("x", "y")),
        Range("b", "Categorical", values=("1", "2", "3")),
    ]

    def combinations(searcher: searchers.GridSearcher) -> list[tuple[str, ...]]:
        found = []
        while (point := searcher.propose()) is not None:
            found.append(
                tuple(item.format(position) for item, position in zip(ranges, point, strict=True))
            )
        return found

    everything = combinations(searchers.GridSearcher(ranges))
    assert sorted(everything) == [(a, b) for a in "xy" for b in "123"]
    assert combinations(searchers.GridSearcher(ranges, tried=4)) == everything[4:]


def test_bayesian_search_beats_random_search_on_a_narrow_peak() -> None:
    ranges = [Range("x", "Continuous", 0, 1)]

    def best(searcher: searchers.Searcher) -> float:
        values = []
        for _ in range(40):
            point = searcher.propose()
            assert point is not None
            values.append(math.exp(-(((point[0] - 0.77) / 0.02) ** 2)))
            searcher.learn(point, values[-1])
        return sum(sorted(values)[-10:])

    bayesian = [best(searchers.BayesianSearcher(ranges, seed)) for seed in range(3)]
    uniform = [best(searchers.RandomSearcher(ranges, seed)) for seed in range(3)]
    assert sum(bayesian) > 2 * sum(uniform)


def test_bayesian_search_learns_from_points_that_it_did_not_propose() -> None:
    searcher = searchers.BayesianSearcher(
        [Range("x", "Continuous", 0, 1), Range("c", "Categorical", values=("a", "b"))], 0
    )
    for index in range(20):
        searcher.learn([index / 20, 0.25 if index % 2 else 0.75], -abs(index / 20 - 0.3))
    near = [abs(searcher.propose()[0] - 0.3) for _ in range(10)]
    assert sorted(near)[5] < 0.2


def test_a_missing_optuna_fails_the_tuning_job_with_a_remedy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(UserError, match=r"requirements-local\.txt, or choose Random"):
        searchers.make_searcher({"Strategy": "Bayesian"}, [], 0, 0)
