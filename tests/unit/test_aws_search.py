"""The tuning search: ranges and scales, strategies, early stopping; no process, no network."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local_test.aws.sagemaker import tuning_strategy
from local_test.aws.sagemaker.tuning_strategy import Range

POSITIONS = st.floats(0, 1, exclude_max=True)


@given(POSITIONS, st.floats(-1e6, 1e6), st.floats(0, 1e6))
def test_a_continuous_value_lies_within_its_range(
    position: float, low: float, width: float
) -> None:
    item = Range("x", "Continuous", low, low + width)
    assert low <= float(item.format(position)) <= low + width


@given(
    POSITIONS,
    st.integers(-1000, 1000),
    st.integers(0, 1000),
    st.sampled_from(["Linear", "Logarithmic"]),
)
def test_an_integer_is_whole_within_its_range_and_found_again(
    position: float, low: int, width: int, scaling: str
) -> None:
    if scaling == "Logarithmic":
        low = abs(low) + 1
    item = Range("x", "Integer", low, low + width, scaling)
    text = item.format(position)
    assert low <= int(text) <= low + width
    located = item.locate(text)
    assert located is not None
    assert item.format(located) == text


@given(POSITIONS)
def test_logarithmic_and_reverse_logarithmic_are_mirror_images(position: float) -> None:
    up = Range("x", "Continuous", 0.001, 0.5, "Logarithmic")
    down = Range("x", "Continuous", 0.5, 0.999, "ReverseLogarithmic")
    assert float(down.format(position)) == pytest.approx(1 - 0.5 * (0.001 / 0.5) ** position)
    assert float(up.format(position)) == pytest.approx(0.001 * 500**position)
    assert up.locate(up.format(position)) == pytest.approx(position, abs=1e-9)


def test_a_random_integer_is_as_likely_at_the_ends() -> None:
    item = Range("x", "Integer", 1, 4)
    found = [item.format((index + 0.5) / 1000) for index in range(1000)]
    assert {value: found.count(value) for value in set(found)} == {
        "1": 250,
        "2": 250,
        "3": 250,
        "4": 250,
    }


@pytest.mark.parametrize(
    ("kind", "low", "high", "scaling", "fault"),
    [
        ("Integer", "1.5", "3", "Auto", "no Integer values"),
        ("Continuous", "2", "1", "Auto", "must not be greater"),
        ("Continuous", "nan", "1", "Auto", "must not be greater"),
        ("Continuous", "0", "1", "Logarithmic", "MinValue > 0"),
        ("Continuous", "0", "1", "ReverseLogarithmic", "[0, 1)"),
    ],
)
def test_a_range_that_makes_no_sense_is_a_fault(
    kind: str, low: str, high: str, scaling: str, fault: str
) -> None:
    faults: list[str] = []
    item = {"Name": "n", "MinValue": low, "MaxValue": high, "ScalingType": scaling}
    assert tuning_strategy.parse_ranges({f"{kind}ParameterRanges": [item]}, faults) == []
    assert len(faults) == 1
    assert fault in faults[0]


def test_a_name_has_one_range() -> None:
    faults: list[str] = []
    tuning_strategy.parse_ranges(
        {"CategoricalParameterRanges": [{"Name": "n", "Values": ["a"]}] * 2}, faults
    )
    assert faults == ["n: has more than one range"]


def test_auto_takes_the_logarithm_of_wide_ranges() -> None:
    ranges = [{"Name": "n", "MinValue": "0.001", "MaxValue": high} for high in ("0.05", "1")]
    scalings = [
        tuning_strategy.parse_ranges({"ContinuousParameterRanges": [item]}, [])[0].scaling
        for item in ranges
    ]
    assert scalings == ["Linear", "Logarithmic"]


def test_grid_gives_every_combination_once_and_goes_on_where_another_process_stopped() -> None:
    ranges = [
        Range("a", "Categorical", values=("x", "y")),
        Range("b", "Categorical", values=("1", "2", "3")),
    ]

    def combinations(searcher: tuning_strategy.GridSearcher) -> list[tuple[str, ...]]:
        found = []
        while (point := searcher.propose()) is not None:
            found.append(
                tuple(item.format(position) for item, position in zip(ranges, point, strict=True))
            )
        return found

    everything = combinations(tuning_strategy.GridSearcher(ranges))
    assert sorted(everything) == [(a, b) for a in "xy" for b in "123"]
    assert combinations(tuning_strategy.GridSearcher(ranges, tried=4)) == everything[4:]


def test_bayesian_search_beats_random_search_on_a_narrow_peak() -> None:
    ranges = [Range("x", "Continuous", 0, 1)]

    def best(searcher: tuning_strategy.Searcher) -> float:
        values = []
        for _ in range(40):
            point = searcher.propose()
            assert point is not None
            values.append(math.exp(-(((point[0] - 0.77) / 0.02) ** 2)))
            searcher.learn(point, values[-1])
        return sum(sorted(values)[-10:])

    bayesian = [best(tuning_strategy.BayesianSearcher(ranges, seed)) for seed in range(3)]
    uniform = [best(tuning_strategy.RandomSearcher(ranges, seed)) for seed in range(3)]
    assert sum(bayesian) > 2 * sum(uniform)


def test_bayesian_search_learns_from_points_that_it_did_not_propose() -> None:
    searcher = tuning_strategy.BayesianSearcher(
        [Range("x", "Continuous", 0, 1), Range("c", "Categorical", values=("a", "b"))], 0
    )
    for index in range(20):
        searcher.learn([index / 20, 0.25 if index % 2 else 0.75], -abs(index / 20 - 0.3))
    near = [abs(searcher.propose()[0] - 0.3) for _ in range(10)]
    assert sorted(near)[5] < 0.2


def test_the_median_rule_waits_for_three_runs_and_stops_the_worse_half() -> None:
    done = [[0.5, 0.7, 0.9], [0.4, 0.6, 0.8], [0.3, 0.5, 0.7]]
    assert not tuning_strategy.is_worse_than_median([0.1], done[:2])
    assert not tuning_strategy.is_worse_than_median([], done)
    assert tuning_strategy.is_worse_than_median([0.1, 0.2], done)
    assert not tuning_strategy.is_worse_than_median([0.6], done)


def test_hyperband_cuts_two_of_three_at_a_rung() -> None:
    assert tuning_strategy.rungs(1, 9, 0) == [1, 3]
    assert tuning_strategy.rungs(1, 9, 1) == [3]
    assert tuning_strategy.rungs(1, 9, 2) == []
    assert tuning_strategy.bracket_count(1, 9) == 3
    others = [[0.9], [0.5], [0.4], [0.3], [0.2]]
    assert not tuning_strategy.is_cut([0.95], others, [1, 3])
    assert tuning_strategy.is_cut([0.1], others, [1, 3])
    assert not tuning_strategy.is_cut([0.1], others[:1], [1, 3])
    assert not tuning_strategy.is_cut([0.1, 0.1], others, [1, 3])
