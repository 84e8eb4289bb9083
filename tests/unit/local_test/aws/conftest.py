"""An account of the local AWS in a directory of the test's own; nothing runs in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from local_test.aws.account.account import Account
from local_test.aws.account.settings import Settings
from local_test.aws.account.store import Store
from local_test.runners.interface import Runner


def refuse_to_run(image: str) -> Runner:
    raise AssertionError(image)


@pytest.fixture
def account(tmp_path: Path) -> Account:
    store = Store(tmp_path / "state.sqlite")
    return Account(tmp_path, Settings(), store, refuse_to_run, lambda namespace, data: None)  # noqa: ARG005 - nobody reads metrics
