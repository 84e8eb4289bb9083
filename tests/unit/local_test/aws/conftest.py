"""An account of the local AWS in a directory of the test's own; nothing runs in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from local_test.aws.account.account import Account
from local_test.aws.account.settings import Settings
from local_test.aws.account.store import Store
from local_test.aws.protocol.services import Notices
from local_test.runners.interface import Runner


def refuse_to_run(image: str) -> Runner:
    raise AssertionError(image)


class PlayedAlarms:
    """Alarms of which a test says which exist, and which have tripped."""

    def __init__(self) -> None:
        self.known: list[str] = []
        self.tripped: list[str] = []
        self.excess: dict[str, float] = {}
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

    def find_excess(self, action: str) -> dict[str, float]:
        """Return what a test has set."""
        assert action.startswith("arn:")
        return self.excess


class PlayedNotices(Notices):
    """Messages and events that are kept for a test."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, str]] = []
        self.events: list[tuple[str, Sequence[str], Mapping[str, Any]]] = []

    def publish(self, topic: str, message: str) -> None:
        """Keep it."""
        self.messages.append((topic, message))

    def send_event(self, kind: str, resources: Sequence[str], detail: Mapping[str, Any]) -> None:
        """Keep it."""
        self.events.append((kind, resources, detail))


class PlayedServices:
    """Metrics that nobody reads, alarms, messages and events."""

    def __init__(self) -> None:
        self.alarms = PlayedAlarms()
        self.notices = PlayedNotices()
        self.functions: dict[str, Any] = {}

    def find_function(self, arn: str) -> Any:
        """Return what a test has set."""
        return self.functions.get(arn)

    def publish_metrics(self, namespace: str, data: object) -> None:
        """Do nothing."""


@pytest.fixture
def account(tmp_path: Path) -> Iterator[Account]:
    store = Store(tmp_path / "state.sqlite")
    found = Account(tmp_path, Settings(), store, refuse_to_run, PlayedServices())
    yield found
    for group in found.logs.groups():
        found.logs.finish(group, "")
    store.close()
