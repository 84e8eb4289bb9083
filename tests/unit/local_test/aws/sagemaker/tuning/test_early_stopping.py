"""The rules that stop training jobs early; no process, no network."""

from __future__ import annotations

from local_test.aws.sagemaker.tuning import early_stopping
from local_test.aws.sagemaker.tuning.early_stopping import Run


def test_the_median_rule_waits_for_three_runs_and_stops_the_worse_half() -> None:
    done = [[0.5, 0.7, 0.9], [0.4, 0.6, 0.8], [0.3, 0.5, 0.7]]
    assert not early_stopping.is_worse_than_median([0.1], done[:2])
    assert not early_stopping.is_worse_than_median([], done)
    assert early_stopping.is_worse_than_median([0.1, 0.2], done)
    assert not early_stopping.is_worse_than_median([0.6], done)
    assert early_stopping.is_worse_than_median([0.1, 0.2], [[1.7e308] * 2] * 3)


def test_hyperband_cuts_two_of_three_at_a_rung() -> None:
    assert early_stopping.rungs(1, 9, 0) == [1, 3]
    assert early_stopping.rungs(1, 9, 1) == [3]
    assert early_stopping.rungs(1, 9, 2) == []
    assert early_stopping.bracket_count(1, 9) == 3
    others = [[0.9], [0.5], [0.4], [0.3], [0.2]]
    assert not early_stopping.is_cut([0.95], others, [1, 3])
    assert early_stopping.is_cut([0.1], others, [1, 3])
    assert not early_stopping.is_cut([0.1], others[:1], [1, 3])
    assert not early_stopping.is_cut([0.1, 0.1], others, [1, 3])


def test_hyperband_counts_every_rung_since_the_last_look() -> None:
    config = {
        "Strategy": "Hyperband",
        "StrategyConfig": {"HyperbandStrategyConfig": {"MinResource": 1, "MaxResource": 9}},
    }
    runs = [
        Run("best", "InProgress", 0, 0, [0.9, 0.9]),
        Run("good", "InProgress", 0, 3, [0.8, 0.8]),
        Run("bad", "InProgress", 0, 6, [0.1, 0.1]),  # past the rung at one epoch
        Run("elsewhere", "InProgress", 0, 1, [0.0]),  # of another bracket
        Run("done", "Completed", 0, 9, [0.0] * 9),
        Run("endless", "InProgress", 0, 2, [0.5] * 10),  # beyond MaxResource
    ]
    assert early_stopping.is_enabled(config)
    assert early_stopping.find_hopeless(config, runs) == ["good", "bad", "endless"]


def test_the_median_rule_compares_runs_of_one_definition() -> None:
    config = {"Strategy": "Bayesian", "TrainingJobEarlyStoppingType": "Auto"}
    done = [Run(f"done-{number}", "Completed", 0, number, [0.5]) for number in range(3)]
    worse = Run("worse", "InProgress", 0, 3, [0.1])
    other = Run("other", "InProgress", 1, 4, [0.1])
    assert early_stopping.find_hopeless(config, [*done, worse, other]) == ["worse"]


def test_nothing_is_stopped_unless_the_request_asks_for_it() -> None:
    assert not early_stopping.is_enabled({"Strategy": "Random"})
    assert not early_stopping.is_enabled(
        {"Strategy": "Random", "TrainingJobEarlyStoppingType": "Off"}
    )
