"""The file of the records in every state that a crash or a disk can leave it in."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from local_test.aws.account.database import Database

BODY = '{"n": "%s"}'
COUNT = 2000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return a file of many records, closed properly."""
    found = tmp_path / "state.sqlite"
    Database(found).close()
    raw = sqlite3.connect(found)
    rows = (("model", f"m{number}", BODY % ("x" * 100)) for number in range(COUNT))
    raw.executemany("INSERT INTO record VALUES (?, ?, ?)", rows)
    raw.commit()
    raw.close()
    return found


def test_a_closed_file_needs_no_log(path: Path) -> None:
    assert [item.name for item in path.parent.iterdir()] == [path.name]
    copy = path.with_name("copy.sqlite")
    shutil.copy(path, copy)
    database = Database(copy)
    assert len(database.read()) == COUNT
    assert database.warnings == []
    database.close()


def test_a_killed_process_loses_little_without_its_log(path: Path, tmp_path: Path) -> None:
    database = Database(path)
    database.write("model", "new", "{}")
    database.checkpoint()
    database.write("model", "newest", "{}")
    only = tmp_path / "only.sqlite"
    shutil.copy(path, only)
    database.close()
    found = Database(only)
    assert [row.name for row in found.read()][-1] == "new"
    found.close()


def overwrite_the_middle(path: Path) -> None:
    data = bytearray(path.read_bytes())
    for start in range(len(data) // 2, len(data) // 2 + 20_000, 4096):
        data[start : start + 100] = b"\xff" * 100
    path.write_bytes(data)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: 4096 * 10 + 1])


def replace_by_text(path: Path) -> None:
    path.write_bytes(b"hello" * 1000)


def replace_by_zeros(path: Path) -> None:
    path.write_bytes(bytes(8192))


@pytest.mark.parametrize(
    ("damage", "least"),
    [(overwrite_the_middle, COUNT // 2), (cut, 1), (replace_by_text, 0), (replace_by_zeros, 0)],
)
def test_a_damaged_file_is_kept_and_what_can_be_read_goes_on(
    path: Path, damage: Callable[[Path], None], least: int
) -> None:
    damage(path)
    before = path.read_bytes()
    database = Database(path)
    rows = database.read()
    assert least <= len(rows) < COUNT
    assert all(row.body == BODY % ("x" * 100) for row in rows)
    database.write("model", "after", "{}")
    database.close()
    [kept] = path.parent.glob("state.sqlite.damaged-*")
    assert kept.read_bytes() == before
    assert (
        f"{len(rows)} records could be read, and the damaged file is kept" in database.warnings[0]
    )
    again = Database(path)
    assert (len(again.read()), again.warnings) == (len(rows) + 1, [])
    again.close()


def test_a_record_that_is_not_text_is_set_apart(path: Path) -> None:
    raw = sqlite3.connect(path)
    raw.execute("INSERT INTO record VALUES ('model', CAST(x'ff' AS TEXT), '{}')")
    raw.execute("INSERT INTO record VALUES ('model', 'blob', x'00ff')")
    raw.commit()
    raw.close()
    database = Database(path)
    assert len(database.read()) == COUNT
    assert len(database.warnings) == 2
    database.close()
    again = Database(path)
    assert (len(again.read()), again.warnings) == (COUNT, [])
    again.close()
    raw = sqlite3.connect(path)
    assert raw.execute("SELECT COUNT(*) FROM damaged").fetchone()[0] == 2
    raw.close()
