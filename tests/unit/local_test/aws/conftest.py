"""An account of the local AWS in a directory of the test's own; nothing runs in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from local_test.aws.account.account import Account
from local_test.aws.account.settings import Settings
from local_test.aws.account.store import Store
from local_test.runners.interface import Runner


def refuse_to_run(image: str) -> Runner:
    raise AssertionError(image)


def publish_nothing(namespace: str, data: object) -> None:
    """Nobody reads metrics here."""


@pytest.fixture
def account(tmp_path: Path) -> Iterator[Account]:
    store = Store(tmp_path / "state.sqlite")
    found = Account(tmp_path, Settings(), store, refuse_to_run, publish_nothing)
    yield found
    for group in found.logs.groups():
        found.logs.finish(group, "")
    store.close()
