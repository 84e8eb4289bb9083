"""What differs is marked, and so is the best value of each metric."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from local_test.cli.runs import comparison
from local_test.cli.runs.comparison import Comparison
from local_test.runs import run_files
from tests.unit.local_test.cli.runs.made import make_job


@pytest.fixture
def compared(tmp_path: Path) -> Comparison:
    measured = {"accuracy": 0.5, "classes": ["a", "b"], "confusion_matrix": [[1, 2], [3, 4]]}
    make_job(
        tmp_path,
        "a",
        parameters={"lr": "0.10", "epochs": "3"},
        metrics={"loss": 0.5, "accuracy": 0.9, "epoch": 3, "theta": 1},
        log="loss=0.7;\nloss=0.5;\n",
        measured=measured,
    )
    make_job(
        tmp_path,
        "b",
        parameters={"lr": "1e-1", "epochs": "4", "seed": "1"},
        metrics={"loss": 0.25, "accuracy": 0.8, "epoch": 4, "theta": 2},
        log="loss=0.25;\n",
    )
    runs = run_files.read_all(tmp_path)
    return comparison.compare(sorted(runs, key=lambda run: run.name))


def test_only_what_means_something_else_differs(compared: Comparison) -> None:
    differing = {row.name: row.differs for row in compared.parameters}
    assert differing == {"lr": False, "epochs": True, "seed": True}
    [seed] = [row for row in compared.parameters if row.name == "seed"]
    assert seed.values == ["", "1"]


def test_the_best_value_depends_on_the_metric(compared: Comparison) -> None:
    best = {row.name: list(row.best) for row in compared.metrics}
    assert best == {
        "loss": [False, True],
        "accuracy": [True, False],
        "epoch": [False, False],
        "theta": [False, True],
    }


def test_curves_and_matrices_go_by_run(compared: Comparison) -> None:
    assert compared.curves == {"loss": [[(1.0, 0.7), (2.0, 0.5)], [(1.0, 0.25)]]}
    assert compared.confusions == [(["a", "b"], [[1, 2], [3, 4]]), None]


def test_programs_get_the_same_as_json(compared: Comparison) -> None:
    document = json.loads(json.dumps(compared.describe()))
    assert [run["name"] for run in document["runs"]] == ["a", "b"]
    assert document["confusion_matrices"][0]["matrix"] == [[1, 2], [3, 4]]
