"""What jobs have left is read as it is: finished, running, cut off and damaged ones."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from local_test.runners.procfs import name_process
from local_test.runs import run_files
from tests.unit.local_test.cli.runs.made import DEFINITIONS, make_job


def read_one(jobs: Path) -> run_files.Run:
    [run] = run_files.read_all(jobs)
    return run


def test_a_finished_job_has_everything(tmp_path: Path) -> None:
    make_job(tmp_path, "a", parameters={"lr": "0.1"}, metrics={"loss": 0.25})

    run = read_one(tmp_path)

    assert (run.name, run.kind, run.status) == ("a", "training", "Completed")
    assert run.duration_s == 90.5
    assert run.parameters == {"lr": "0.1"}
    assert run.metrics == {"loss": 0.25}
    assert run.model == "file:///out/a/output/model.tar.gz"
    assert run.describe()["created"] == "2026-01-02T03:04:05+00:00"


def test_a_secret_is_not_shown(tmp_path: Path) -> None:
    make_job(tmp_path, "a", parameters={"api_token": "hunter2", "max_tokens": "9"})
    shown = read_one(tmp_path).describe()["parameters"]
    assert shown == {"api_token": "***", "max_tokens": "9"}


def test_only_the_newest_jobs_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for age, name in enumerate(("b", "c", "a")):
        os.utime(make_job(tmp_path, name) / "request.json", (0, 9 - age))
    read = Mock(wraps=run_files.read)
    monkeypatch.setattr(run_files, "read", read)
    assert [run.name for run in run_files.read_all(tmp_path, limit=2)] == ["b", "c"]
    assert read.call_count == 2
    assert len(run_files.find_requests(tmp_path)) == 3


def test_a_job_without_definitions_says_so(tmp_path: Path) -> None:
    make_job(tmp_path, "a", definitions=[])
    assert "no metric definitions" in read_one(tmp_path).notes[0]


@pytest.mark.parametrize(
    ("process", "status"),
    [
        pytest.param(name_process(os.getpid()), run_files.RUNNING, id="alive"),
        ("1-12345678901", run_files.INTERRUPTED),
        ("", run_files.INTERRUPTED),
        (None, "Unknown"),
    ],
)
def test_a_job_without_an_end_runs_or_was_cut_off(
    process: str | None, status: str, tmp_path: Path
) -> None:
    directory = make_job(tmp_path, "a", log="epoch=1; loss=0.5;\n", is_done=False)
    if process is not None:
        (directory / "process.json").write_text(json.dumps({"process": process}))

    run = read_one(tmp_path)

    assert run.status == status
    assert run.duration_s is None
    assert run.metrics == {"epoch": 1.0, "loss": 0.5}  # so far


def test_curves_go_by_epoch_and_else_by_number(tmp_path: Path) -> None:
    log = "epoch=1; loss=0.5;\nepoch=3; loss=0.25;\nloss=nan;\nloss=1e999;\n"
    directory = make_job(tmp_path, "a", log=log)
    plain = make_job(tmp_path, "b", log=log, definitions=DEFINITIONS[1:])

    assert run_files.read_curves(directory)["loss"] == [(1.0, 0.5), (3.0, 0.25)]
    assert run_files.read_curves(plain)["loss"] == [(1.0, 0.5), (2.0, 0.25)]


@pytest.mark.parametrize("definition", [{"Name": "loss", "Regex": "("}, {"Name": "loss"}, "loss"])
def test_damaged_definitions_count_as_absent(definition: Any, tmp_path: Path) -> None:
    directory = make_job(tmp_path, "a", definitions=[definition], log="loss=0.5;\n")

    assert "no metric definitions" in read_one(tmp_path).notes[0]
    assert run_files.read_curves(directory) == {}


@pytest.mark.parametrize("text", ["", "[]", "{", "null", '{"HyperParameters": null}'])
def test_a_damaged_file_counts_as_absent(text: str, tmp_path: Path) -> None:
    directory = make_job(tmp_path, "a")
    (directory / "request.json").write_text(text)
    (directory / "description.json").write_text(text)

    run = read_one(tmp_path)

    assert (run.status, run.parameters, run.metrics) == ("Unknown", {}, {})


@pytest.mark.parametrize(
    "change",
    [
        {"confusion_matrix": None},
        {"confusion_matrix": [[1, 2]]},
        {"confusion_matrix": [[1, "x"], [3, 4]]},
        {"classes": []},
        {"accuracy": "high"},
    ],
)
def test_only_a_matrix_of_the_right_form_is_shown(change: dict[str, Any], tmp_path: Path) -> None:
    measured = {"accuracy": 0.5, "classes": ["a", "b"], "confusion_matrix": [[1, 2], [3, 4]]}
    directory = make_job(tmp_path, "a", measured=measured)
    assert run_files.read_confusion(directory) == (["a", "b"], [[1, 2], [3, 4]])

    make_job(tmp_path, "b", measured=measured | change)
    assert run_files.read_confusion(tmp_path / "training/b") is None


def test_a_link_that_a_container_left_is_not_followed(tmp_path: Path) -> None:
    secret = tmp_path / "elsewhere.json"
    secret.write_text('{"accuracy": 1, "classes": ["a"], "confusion_matrix": [[1]]}')
    directory = make_job(tmp_path, "a")
    place = directory / "hosts/algo-1/output/evaluation"
    place.mkdir(parents=True)
    (place / "metrics.json").symlink_to(secret)

    assert run_files.find_evaluation(directory) == {}


def test_the_evaluation_of_the_same_name_is_that_of_the_training_job(tmp_path: Path) -> None:
    directory = make_job(tmp_path, "a", metrics={"loss": 0.5})
    output = tmp_path / "processing/a/evaluation"
    output.mkdir(parents=True)
    (output / "metrics.json").write_text('{"accuracy": 0.75, "f1": NaN, "auc": true}')
    outputs = [{"S3Output": {"S3Uri": f"file://{output}"}}]
    request = {"ProcessingOutputConfig": {"Outputs": outputs}}
    (tmp_path / "processing/a/request.json").write_text(json.dumps(request))

    runs = {run.kind: run.metrics for run in run_files.read_all(tmp_path)}

    assert runs["training"] == {"accuracy": 0.75, "loss": 0.5}
    assert runs["processing"] == {"accuracy": 0.75}
    assert run_files.find_evaluation(directory)["accuracy"] == 0.75
