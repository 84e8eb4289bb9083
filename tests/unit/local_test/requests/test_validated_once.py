"""One CreateTrainingJob is validated once, from the command line as through the API."""

from __future__ import annotations

import json
import shlex
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from local_test.aws.account.account import Account
from local_test.aws.account.settings import Settings
from local_test.aws.account.store import Store
from local_test.aws.process.operations import OPERATIONS
from local_test.aws.protocol import messages
from local_test.cli import app, job_commands
from local_test.data import storage
from local_test.requests import shapes, shorthand
from local_test.runners.process import ProcessRunner

PROGRAM = [sys.executable, "-c", "print('trained')"]


@pytest.fixture
def read_shapes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Collect the names of the shapes by which requests are read."""
    names: list[str] = []
    read = shapes.read

    def count(shape: Any, *arguments: Any, **options: Any) -> Any:
        names.append(shape.name)
        return read(shape, *arguments, **options)

    monkeypatch.setattr(shapes, "read", count)
    return names


@pytest.fixture
def kept_signals() -> Iterator[None]:
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("kept_signals")
def test_from_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read_shapes: list[str]
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "a").write_text("1")
    monkeypatch.setattr(job_commands, "JOBS", tmp_path / "jobs")
    options = ["--channel", f"training={data}", "--output", str(tmp_path / "out")]
    command = ["local_test", "train", "--program", shlex.join(PROGRAM), *options]
    monkeypatch.setattr(sys, "argv", command)

    assert app.main() == 0
    assert read_shapes == ["CreateTrainingJobRequest"]


def test_through_the_api(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read_shapes: list[str]
) -> None:
    stored: list[str] = []
    monkeypatch.setattr(storage, "store", lambda _, uri: stored.append(uri))
    account = Account(
        tmp_path,
        Settings(),
        Store(tmp_path / "state.sqlite"),
        lambda _: ProcessRunner(PROGRAM),
        Mock(),
    )
    request = shorthand.training_request(
        name="job", image="any", channels={}, output="s3://bucket/out"
    )

    parsed = messages.parse("sagemaker", "CreateTrainingJob", json.dumps(request).encode())
    answer = OPERATIONS["CreateTrainingJob"](account, parsed)
    assert account.wait_for_threads(60)

    assert answer["TrainingJobArn"].endswith(":training-job/job")
    assert stored == ["s3://bucket/out/job/output/model.tar.gz"]
    assert read_shapes == ["CreateTrainingJobRequest"]
