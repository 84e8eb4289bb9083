"""The directory of a server that a check starts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from container.errors import UserError
from local_test.conformance.sessions import server_session
from local_test.conformance.subject import Subject


class Runner:
    """Notes what a container finds, and does not start it."""

    def __init__(self) -> None:
        self.found: list[list[str]] = []

    def start(self, launch: Any, _: object) -> None:
        """Refuse."""
        self.found.append(sorted(path.name for path in (launch.root / "model").iterdir()))
        message = "does not start"
        raise UserError(message)


def test_a_server_finds_the_model_and_nothing_of_an_earlier_one_of_its_name(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model/weights").write_bytes(b"1")
    runner = Runner()
    subject: Any = Subject(
        runner=runner,  # type: ignore[arg-type] - it starts nothing
        directory=tmp_path / "work",
        model=str(tmp_path / "model"),
    )
    for _ in range(2):
        with pytest.raises(UserError, match="does not start"), server_session.start(subject, "x"):
            pass
        (subject.directory / "x/model/left").write_bytes(b"")
    assert runner.found == [["weights"], ["weights"]]
