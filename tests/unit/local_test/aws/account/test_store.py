"""The records of the local AWS on disk."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from container.errors import PlatformError
from local_test.aws.account.kinds import MODEL
from local_test.aws.account.records import Resource
from local_test.aws.account.store import Store

RECORD = {"ModelName": "m", "_request": {"a": [1]}, "CreationTime": 1.0}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.sqlite"


def test_records_survive(path: Path) -> None:
    store = Store(path)
    assert store.insert(MODEL, "m", RECORD)
    assert not store.insert(MODEL, "m", {})
    store.insert(MODEL, "gone", RECORD)
    store.delete(MODEL, "gone")
    store.close()
    again = Store(path)
    assert again.find(MODEL, "m") == RECORD
    assert [record["ModelName"] for record in again.list(MODEL)] == ["m"]
    assert again.find(MODEL, "gone") is None
    again.close()


def test_a_reader_gets_a_copy(path: Path) -> None:
    store = Store(path)
    store.insert(MODEL, "m", RECORD)
    found = store.find(MODEL, "m")
    assert found is not None
    found["_request"]["a"].append(2)
    assert store.find(MODEL, "m") == RECORD


def test_none_removes_an_entry_and_an_error_changes_nothing(path: Path) -> None:
    store = Store(path)
    store.insert(MODEL, "m", RECORD)
    changed = store.update(MODEL, "m", _request=None)
    assert "_request" not in changed
    assert changed["LastModifiedTime"] > 1

    def fail(record: Resource) -> None:
        record["CreationTime"] = 0
        raise ValueError

    with pytest.raises(ValueError, match=r"^$"):
        store.edit(MODEL, "m", fail)
    assert store.find(MODEL, "m") == changed
    with pytest.raises(KeyError):
        store.update(MODEL, "nowhere")


def test_a_file_of_a_later_version_is_refused(path: Path) -> None:
    Store(path).close()
    database = sqlite3.connect(path)
    database.execute("PRAGMA user_version=99")
    database.close()
    with pytest.raises(PlatformError, match="later version"):
        Store(path)


def test_a_file_that_is_not_a_database_is_refused(path: Path) -> None:
    path.write_text("not a database, but long enough to be read as one" * 50)
    with pytest.raises(PlatformError, match="cannot open"):
        Store(path)
