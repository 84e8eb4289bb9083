"""The records of the local AWS on disk."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from container.errors import PlatformError
from local_test.aws.account.kinds import MODEL
from local_test.aws.account.records import Resource
from local_test.aws.account.store import Store
from local_test.data.disk import DiskError
from tests.support import file_size_limit

RECORD = {"ModelName": "m", "_request": {"a": [1]}, "_without_effect": [], "CreationTime": 1.0}


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
    store.insert(MODEL, "m", {**RECORD, "FailureReason": "of before"})
    changed = store.update(MODEL, "m", FailureReason=None)
    assert "FailureReason" not in changed
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


def test_what_cannot_be_written_is_not_changed(path: Path) -> None:
    store = Store(path)
    store.insert(MODEL, "m", RECORD)
    with file_size_limit(1000):
        with pytest.raises(DiskError):
            store.insert(MODEL, "refused", RECORD)
        with pytest.raises(DiskError):
            store.update(MODEL, "m", CreationTime=2.0)
        with pytest.raises(DiskError):
            store.delete(MODEL, "m")
        assert "nothing was changed" in store.fault
        assert store.find(MODEL, "refused") is None
        assert store.find(MODEL, "m") == RECORD
    store.update(MODEL, "m", CreationTime=2.0)
    assert store.fault == ""
    store.close()


def test_a_start_on_a_full_disk_is_read_only_and_says_why(path: Path) -> None:
    store = Store(path)
    store.insert(MODEL, "m", RECORD)
    store.close()
    with file_size_limit(1000):
        again = Store(path)
        assert again.fault.startswith("read-only until there is room: cannot write to")
        assert again.find(MODEL, "m") == RECORD
        with pytest.raises(DiskError):
            again.insert(MODEL, "refused", RECORD)
    again.insert(MODEL, "n", RECORD)
    assert again.fault == ""
    again.close()


def test_what_has_happened_is_written_as_soon_as_there_is_room(path: Path) -> None:
    store = Store(path)
    store.insert(MODEL, "m", RECORD)
    store.insert(MODEL, "gone", RECORD)
    with file_size_limit(1000):
        store.note(MODEL, "m", lambda record: record.update(CreationTime=2.0))
        store.forget(MODEL, "gone")
        store.flush()
        assert [record["CreationTime"] for record in store.list(MODEL)] == [2.0]
    store.flush()
    store.close()
    again = Store(path)
    assert [record["CreationTime"] for record in again.list(MODEL)] == [2.0]
    again.close()


def test_a_damaged_record_is_set_apart_and_reported(path: Path) -> None:
    store = Store(path)
    store.insert(MODEL, "m", RECORD)
    store.close()
    raw = sqlite3.connect(path)
    for name, body in (("broken", "{"), ("poor", "{}"), ("deep", "[" * 100_000)):
        raw.execute("INSERT INTO record VALUES ('model', ?, ?)", (name, body))
    raw.commit()
    raw.close()
    again = Store(path)
    assert [record["ModelName"] for record in again.list(MODEL)] == ["m"]
    assert [warning.split("'")[1] for warning in again.warnings] == ["broken", "poor", "deep"]
    again.close()


def test_a_closed_store_refuses_changes(path: Path) -> None:
    store = Store(path)
    store.close()
    with pytest.raises(DiskError, match="stopping"):
        store.insert(MODEL, "m", RECORD)
    store.flush()
