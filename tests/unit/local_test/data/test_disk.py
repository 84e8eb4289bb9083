"""Failures to write, as the kernel and SQLite report them."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from local_test.data import disk
from local_test.data.disk import DiskError
from tests.support import file_size_limit


def test_a_full_disk_says_what_to_do() -> None:
    wanted = r"/dev: No space left on device; nothing was changed\."
    with pytest.raises(DiskError, match=wanted), disk.guard("/dev"):
        Path("/dev/full").write_text("x")


def test_a_full_disk_under_sqlite_is_the_same_error(tmp_path: Path) -> None:
    database = sqlite3.connect(tmp_path / "file", isolation_level=None)
    database.execute("CREATE TABLE t (x)")
    with file_size_limit(20_000), pytest.raises(DiskError), disk.guard(tmp_path):
        database.execute("INSERT INTO t VALUES (zeroblob(100000))")
    database.close()


def test_other_errors_pass(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), disk.guard(tmp_path):
        (tmp_path / "none").read_bytes()
    with pytest.raises(sqlite3.OperationalError, match="no such table"), disk.guard(tmp_path):
        sqlite3.connect(":memory:").execute("SELECT * FROM t")
