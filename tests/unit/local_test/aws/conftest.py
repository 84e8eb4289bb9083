"""An account of the local AWS in a directory of the test's own; nothing runs in it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from local_test.aws.account.account import Account
from local_test.aws.account.settings import Settings
from local_test.aws.account.store import Store
from local_test.runners.interface import Runner


def refuse_to_run(image: str) -> Runner:
    raise AssertionError(image)


class PlayedAlarms:
    """Alarms of which a test says which exist, and which have tripped."""

    def __init__(self) -> None:
        self.known: list[str] = []
        self.tripped: list[str] = []
        self.evaluated = 0

    def evaluate(self) -> None:
        """Count it."""
        self.evaluated += 1

    def find_faults(self, names: Sequence[str]) -> list[str]:
        """Refuse every alarm that is not known."""
        return [f"alarm {name!r} does not exist" for name in names if name not in self.known]

    def find_tripped(self, names: Sequence[str], since_s: float) -> list[str]:
        """Return what a test has set."""
        assert since_s > 0
        return [name for name in names if name in self.tripped]


class PlayedCloudWatch:
    """Metrics that nobody reads, and alarms."""

    def __init__(self) -> None:
        self.alarms = PlayedAlarms()

    def publish_metrics(self, namespace: str, data: object) -> None:
        """Do nothing."""


@pytest.fixture
def account(tmp_path: Path) -> Iterator[Account]:
    store = Store(tmp_path / "state.sqlite")
    found = Account(tmp_path, Settings(), store, refuse_to_run, PlayedCloudWatch())
    yield found
    for group in found.logs.groups():
        found.logs.finish(group, "")
    store.close()
