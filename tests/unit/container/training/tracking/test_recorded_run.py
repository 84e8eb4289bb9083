"""What any tracking server gets, and that none of them fails a job."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from container.artifact import Manifest
from container.training.tracking.metric_lines import Value
from container.training.tracking.recorded_run import RecordedRun


class Run(RecordedRun):
    """Keeps what it gets, or takes nothing."""

    server = "a list"

    def __init__(self, *, is_broken: bool = False) -> None:
        self.is_broken = is_broken
        self.got: list[object] = []
        super().__init__("run 1")

    def take(self, item: object) -> None:
        """Keep an item, or refuse it."""
        if self.is_broken:
            message = "no such host https://user:hunter2@example.com\nsecond line"
            raise OSError(message)
        self.got.append(item)

    def send_parameters(self, parameters: Mapping[str, str]) -> None:
        """Keep them."""
        self.take(parameters)

    def send(self, items: Sequence[tuple[Value, int]]) -> None:
        """Keep the values."""
        self.take([value for value, _ in items])

    def upload(self, directory: Path, name: str, _manifest: Manifest | None) -> None:
        """Keep the names."""
        self.take((directory.name, name))

    def close(self, status: str) -> None:
        """Keep the status."""
        self.take(status)


LOSS = Value("loss", 1.0, 0)


def record(run: Run, directory: Path) -> None:
    (directory / "model").mkdir()
    (directory / "model/weights").touch()
    run.log_parameters({"lr": "0.1", "api_token": "hunter2", "url": "https://me:pw@host/"})
    run.log([LOSS, LOSS])
    run.log_files(directory / "model", "model")
    run.log_files(directory / "output", "output")  # does not exist
    run.end("FINISHED")


def test_a_server_gets_parameters_metrics_files_and_the_status(tmp_path: Path) -> None:
    run = Run()
    record(run, tmp_path)
    assert {"lr": "0.1", "api_token": "***", "url": "https://***@host/"} in run.got
    assert [LOSS, LOSS] in run.got
    assert run.got[-1] == "FINISHED"
    assert ("model", "model") in run.got
    assert len(run.got) == 4
    assert run.failures == []


def test_what_a_server_does_not_take_is_named_and_fails_nothing(tmp_path: Path) -> None:
    run = Run(is_broken=True)
    record(run, tmp_path)
    reason = "no such host https://***@example.com"
    assert sorted(run.failures) == sorted(
        [f"{what}: {reason}" for what in ("parameters", "metrics", "model", "status")]
        + ["metrics: 2 values were not taken"]
    )
