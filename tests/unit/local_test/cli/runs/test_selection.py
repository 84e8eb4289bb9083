"""Runs are chosen by conditions, orders and names, and a wrong one is refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from container.errors import UserError
from local_test.cli.runs.selection import choose, filter_runs, sort_runs
from local_test.runs.run_files import Run


def make(name: str, kind: str = "training", lr: str = "", **metrics: float) -> Run:
    parameters = {"lr": lr} if lr else {}
    return Run(name, kind, "local", Path(name), "Completed", 1.0, 2.0, parameters, metrics)


RUNS = [
    make("first", lr="0.10", loss=0.5),
    make("second", lr="1e-1", loss=0.25),
    make("third", lr="0.01"),
    make("fourth", kind="processing", accuracy=0.9),
]


@pytest.mark.parametrize(
    ("condition", "names"),
    [
        ("kind=processing", ["fourth"]),
        ("loss<0.5", ["second"]),
        ("loss<=0.5", ["first", "second"]),
        ("loss >= 0.3", ["first"]),
        ("lr=0.1", ["first", "second"]),
        ("lr!=0.1", ["third", "fourth"]),
        ("name~IR", ["first", "third"]),
        ("status=completed", ["first", "second", "third", "fourth"]),
        ("metric.loss>0", ["first", "second"]),
        ("param.lr<0.05", ["third"]),
        ("name<5", []),
    ],
)
def test_a_condition_keeps_the_runs_that_meet_it(condition: str, names: list[str]) -> None:
    assert [run.name for run in filter_runs(RUNS, [condition])] == names


def test_all_conditions_have_to_be_met() -> None:
    assert [run.name for run in filter_runs(RUNS, ["lr=0.1", "loss<0.3"])] == ["second"]


@pytest.mark.parametrize(
    ("condition", "reason"),
    [
        ("loss", "expected NAME=VALUE"),
        ("<3", "expected NAME=VALUE"),
        ("los<3", "did you mean 'loss'\\? there are name, .*loss, lr, accuracy"),
    ],
)
def test_a_condition_on_nothing_is_refused(condition: str, reason: str) -> None:
    with pytest.raises(UserError, match=reason):
        filter_runs(RUNS, [condition])


@pytest.mark.parametrize(
    ("key", "names"),
    [
        ("loss", ["second", "first", "third", "fourth"]),
        ("-loss", ["first", "second", "third", "fourth"]),
        ("name", ["first", "fourth", "second", "third"]),
        ("-lr", ["first", "second", "third", "fourth"]),
    ],
)
def test_runs_without_the_value_come_last(key: str, names: list[str]) -> None:
    assert [run.name for run in sort_runs(RUNS, key)] == names


def test_an_order_by_nothing_is_refused() -> None:
    with pytest.raises(UserError, match="--sort: no run has a value 'acuracy'"):
        sort_runs(RUNS, "-acuracy")
    with pytest.raises(UserError, match="no run has a value 'qqqq'; there are "):
        sort_runs(RUNS, "qqqq")


def test_names_may_be_short_if_they_are_unique() -> None:
    assert [run.name for run in choose(RUNS, ["th", "second", "th"])] == ["third", "second"]
    with pytest.raises(UserError, match="the start of 2 names: first, fourth"):
        choose(RUNS, ["f"])
    with pytest.raises(UserError, match="unknown run 'secnod'; known runs include second"):
        choose(RUNS, ["secnod"])
    with pytest.raises(UserError, match="unknown run 'a'; no job has run yet"):
        choose([], ["a"])


def test_a_training_job_is_meant_before_others_of_its_name() -> None:
    same = [make("a", kind="processing"), make("a"), make("ab")]
    assert choose(same, ["a"])[0].kind == "training"
