"""What a container leaves for the harness: links, FIFOs and deep directories are harmless."""

from __future__ import annotations

import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from local_test import container_files
from local_test.jobs.processing import ProcessingJob
from local_test.jobs.result import JobResult
from local_test.jobs.training import TrainingJob
from local_test.requests import shorthand
from local_test.requests.validation import validate
from local_test.runners.process import ProcessRunner

CONTENT = "of the host"


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    (tmp_path / "host").mkdir()
    path = tmp_path / "host/secret"
    path.write_text(CONTENT)
    return path


@pytest.fixture(autouse=True)
def no_deep_directory_is_left(tmp_path: Path) -> Iterator[None]:
    yield
    container_files.remove_tree(tmp_path / "job")  # pytest could not


@pytest.fixture
def runner() -> ProcessRunner:
    return ProcessRunner(["/bin/sh"])


def write(directory: Path, script: str) -> list[str]:
    """Write a script that runs in /opt/ml; return its command, which is short for a request."""
    path = directory / "script.sh"
    path.write_text(f"cd ${{SAGEMAKER_BASE_DIR:-/opt/ml}}\n{script}\n")
    return ["/bin/sh", str(path)]


def train(directory: Path, runner: ProcessRunner, script: str, **fields: Any) -> JobResult:
    request = shorthand.training_request(
        name="job", image="any", channels={}, output=str(directory / "out")
    )
    algorithm = {
        **request["AlgorithmSpecification"],
        "ContainerEntrypoint": write(directory, script),
    }
    valid = validate("CreateTrainingJob", request | {"AlgorithmSpecification": algorithm} | fields)
    return TrainingJob(valid, runner, directory / "job").run()


def process(
    directory: Path, runner: ProcessRunner, script: str, instance_count: int = 1
) -> JobResult:
    request = shorthand.processing_request(
        name="job",
        image="any",
        inputs={},
        outputs={"evaluation": str(directory / "out")},
        entrypoint=write(directory, script),
    )
    request["ProcessingResources"]["ClusterConfig"]["InstanceCount"] = instance_count
    valid = validate("CreateProcessingJob", request)
    return ProcessingJob(valid, runner, directory / "job").run()


def read_all(directory: Path) -> str:
    return "".join(
        path.read_text(errors="replace") for path in directory.rglob("*") if path.is_file()
    )


@pytest.mark.parametrize(
    "command",
    [
        "ln -s {} output/failure",
        "mkfifo output/failure",
        "mkdir output/failure",
        "mv output o; ln -s {}.d output",
    ],
)
def test_a_failure_file_is_read_only_if_it_is_a_file(
    command: str, tmp_path: Path, runner: ProcessRunner, secret: Path
) -> None:
    secret.with_name("secret.d").mkdir()
    secret.with_name("secret.d").joinpath("failure").write_text(CONTENT)

    result = train(tmp_path, runner, f"{command.format(secret)}; exit 3")

    assert result.failure == "AlgorithmError: the container ended with exit code: 3"  # OUT-2
    assert any("output" in finding and "not read" in finding for finding in result.findings)


@pytest.mark.parametrize("kind", ["NONE", "GZIP"])
def test_a_model_is_uploaded_without_what_its_links_lead_to(
    kind: str, tmp_path: Path, runner: ProcessRunner, secret: Path
) -> None:
    output = {"S3OutputPath": f"file://{tmp_path}/out", "CompressionType": kind}
    script = (
        f"ln -s {secret} model/x; ln -s {secret.parent} model/d; mkfifo model/f; echo 1 >model/y"
    )

    result = train(tmp_path, runner, script, OutputDataConfig=output)

    assert result.status == "Completed"
    assert CONTENT not in read_all(tmp_path / "out")
    for name in ("x", "d", "f"):
        assert any(finding.startswith(f"{name} is ") for finding in result.findings)  # OUT-6
    if kind == "NONE":
        names = [path.name for path in (tmp_path / "out").rglob("*") if path.is_file()]
        assert names == ["y"]
    else:
        with tarfile.open(tmp_path / "out/job/output/model.tar.gz") as tar:
            assert {member.name: member.type for member in tar} == {
                "d": tarfile.SYMTYPE,
                "x": tarfile.SYMTYPE,
                "y": tarfile.REGTYPE,
            }


@pytest.mark.parametrize("place", ["model", "output/data"])
def test_a_directory_that_became_a_link_is_a_finding_and_nothing_of_it_is_uploaded(
    place: str, tmp_path: Path, runner: ProcessRunner, secret: Path
) -> None:
    result = train(tmp_path, runner, f"rm -r {place}; ln -s {secret.parent} {place}")

    assert result.status == "Completed"
    assert any("is a symbolic link: not read" in finding for finding in result.findings)
    for archive in (tmp_path / "out").rglob("*.tar.gz"):
        with tarfile.open(archive) as tar:
            assert tar.getnames() == []


def test_checkpoints_are_stored_without_links_and_fifos(
    tmp_path: Path, runner: ProcessRunner, secret: Path
) -> None:
    script = (
        f"cd checkpoints; ln -s {secret} x; ln -s {secret.parent} d; mkfifo f; echo 1 >y; sleep 1"
    )
    config = {"S3Uri": f"file://{tmp_path}/store"}

    result = train(tmp_path, runner, script, CheckpointConfig=config)

    assert result.status == "Completed"
    assert sorted(path.name for path in (tmp_path / "store").iterdir()) == ["y"]  # CK-1
    for name in ("x", "d", "f"):
        assert any(finding.startswith(f"checkpoints/{name} is ") for finding in result.findings)


def test_exit_messages_of_hosts_are_on_lines_of_their_own(
    tmp_path: Path, runner: ProcessRunner
) -> None:
    result = process(tmp_path, runner, "printf done > output/message", instance_count=2)
    assert result.description["ExitMessage"] == "done\ndone"  # PR-3


@pytest.mark.parametrize("command", ["ln -s {} output/message", "mkfifo output/message"])
def test_an_exit_message_is_read_only_if_it_is_a_file(
    command: str, tmp_path: Path, runner: ProcessRunner, secret: Path
) -> None:
    result = process(tmp_path, runner, command.format(secret))

    assert "ExitMessage" not in result.description  # PR-3
    assert any("output/message is" in finding for finding in result.findings)


@pytest.mark.parametrize(
    "command",
    [
        "ln -s {} processing/evaluation/x",
        "rmdir processing/evaluation; ln -s {}.d processing/evaluation",
        "mv processing p; mkdir {}.d/evaluation; ln -s {}.d processing",
    ],
)
def test_outputs_of_processing_are_stored_without_links(
    command: str, tmp_path: Path, runner: ProcessRunner, secret: Path
) -> None:
    secret.with_name("secret.d").mkdir()
    secret.with_name("secret.d").joinpath("x").write_text(CONTENT)

    result = process(tmp_path, runner, command.format(secret, secret))

    assert result.status == "Completed"
    assert list((tmp_path / "out").rglob("*")) == []  # PR-2
    assert any("is a symbolic link" in finding for finding in result.findings)


def test_a_file_that_two_hosts_wrote_is_a_finding(tmp_path: Path, runner: ProcessRunner) -> None:
    result = process(tmp_path, runner, "echo a > processing/evaluation/x", instance_count=2)
    [finding] = (text for text in result.findings if "was written by" in text)
    assert "/out/x was written by algo-1, evaluation and by algo-2, evaluation: only" in finding


def test_deep_directories_are_a_finding_and_the_rest_is_stored(
    tmp_path: Path, runner: ProcessRunner
) -> None:
    program = "import os; [(os.mkdir('d'), os.chdir('d')) for _ in range(1200)]"
    script = f'cd model; echo 1 >y; "{sys.executable}" -c "{program}"'

    result = train(tmp_path, runner, script)

    assert result.status == "Completed", result.failure
    assert any("more than 100 directories" in finding for finding in result.findings)
    with tarfile.open(tmp_path / "out/job/output/model.tar.gz") as tar:
        assert "y" in tar.getnames()
