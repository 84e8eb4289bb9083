"""A job's end says what to do next, and a model may be called by its job's name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from container.errors import UserError
from local_test.cli.runs import next_steps
from local_test.jobs.result import JobResult
from tests.unit.local_test.cli.runs.made import make_job


@pytest.fixture
def jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(next_steps, "JOBS", tmp_path)
    return tmp_path


def finish(directory: Path, status: str = "Completed") -> list[str]:
    description = json.loads((directory / "description.json").read_text())
    return next_steps.list_lines(JobResult(description, directory, status))


def test_report_model_and_comparison_follow_a_completed_job(jobs: Path) -> None:
    make_job(jobs, "a")
    make_job(jobs, "failed", status="Failed")
    directory = make_job(jobs, "b", measured={"accuracy": 1})

    lines = finish(directory)

    assert lines == [
        f"report: {directory}/hosts/algo-1/output/evaluation/report.html",
        "next: python -m local_test serve --model /out/b/output/model.tar.gz",
        "next: python -m local_test runs compare a b",
    ]
    assert Path(lines[0].removeprefix("report: ")).is_file()


def test_a_job_of_an_image_is_served_by_it(jobs: Path) -> None:
    directory = make_job(jobs, "a")
    description = json.loads((directory / "description.json").read_text())
    description["AlgorithmSpecification"] = {"TrainingImage": "my-algorithm"}

    lines = next_steps.list_lines(JobResult(description, directory, "Completed"))

    assert (
        "next: python -m local_test serve --image my-algorithm --model /out/a/output/model.tar.gz"
        in lines
    )


def test_a_job_of_an_account_is_served_from_its_copy_on_this_disk(jobs: Path) -> None:
    directory = make_job(jobs, "a")
    description = json.loads((directory / "description.json").read_text())
    uri = "s3://bucket/byo/a/output/model.tar.gz"
    description["ModelArtifacts"] = {"S3ModelArtifacts": uri}
    (directory / "description.json").write_text(json.dumps(description))
    assert f"next: python -m local_test serve --model {uri}" in finish(directory)
    assert next_steps.resolve_model("a") == uri

    copy = directory / "output/model.tar.gz"
    copy.parent.mkdir()
    copy.write_bytes(b"")
    assert f"next: python -m local_test serve --model {copy}" in finish(directory)
    assert next_steps.resolve_model("a") == str(copy)


def test_a_failed_job_names_its_logs(jobs: Path) -> None:
    directory = make_job(jobs, "a")
    assert finish(directory, "Failed") == [f"log: {directory}/logs"]


def test_a_model_is_called_by_path_uri_or_name(jobs: Path) -> None:
    make_job(jobs, "a")
    assert next_steps.resolve_model("a") == "file:///out/a/output/model.tar.gz"
    for place in (None, "s3://bucket/a", str(jobs)):
        assert next_steps.resolve_model(place) == place


def test_a_wrong_model_is_refused_with_the_possible_names(jobs: Path) -> None:
    make_job(jobs, "digits-1")
    with pytest.raises(UserError, match=r"digit does not exist.*with a model: digits-1"):
        next_steps.resolve_model(str(jobs / "digit"))
