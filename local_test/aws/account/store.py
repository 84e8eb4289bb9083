"""The records of the local AWS in one SQLite file, by kind and name.

Rules of this file: a change is on disk before the call returns; a reader gets a copy.
"""

from __future__ import annotations

import copy
import json
import sqlite3
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

from container.errors import PlatformError
from local_test.aws.account.kinds import Kind, R

_VERSION = 1
_TABLE = """CREATE TABLE IF NOT EXISTS record (
    kind TEXT, name TEXT, body TEXT NOT NULL, PRIMARY KEY (kind, name))"""
_UPSERT = """INSERT INTO record VALUES (?, ?, ?)
    ON CONFLICT (kind, name) DO UPDATE SET body = excluded.body"""


class Store:
    """The records of one directory; safe to use from any thread of one process."""

    def __init__(self, path: Path) -> None:
        """Open or create the file.

        Raises: PlatformError if it cannot be opened, or was written by a later version.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.RLock()
        try:
            self._database = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
            self._database.execute("PRAGMA journal_mode=WAL")
            version = self._database.execute("PRAGMA user_version").fetchone()[0]
            if version > _VERSION:
                message = (
                    f"{path} was written by a later version of this program (format {version}); "
                    "use that version, or delete the data with purge"
                )
                raise PlatformError(message)
            self._database.execute(_TABLE)
            self._database.execute(f"PRAGMA user_version={_VERSION}")
            rows = self._database.execute("SELECT kind, name, body FROM record ORDER BY rowid")
            self._records: dict[str, dict[str, Any]] = {}
            for kind, name, body in rows:
                self._records.setdefault(kind, {})[name] = json.loads(body)
        except sqlite3.Error as error:
            message = f"cannot open {path}: {error}"
            raise PlatformError(message) from error

    def close(self) -> None:
        """Close the file; the store cannot be used afterwards."""
        with self._lock:
            self._database.close()

    def insert(self, kind: Kind[R], name: str, record: Mapping[str, Any]) -> bool:
        """Add a record; return False, and change nothing, if the name is taken."""
        with self._lock:
            if name in self._records.get(kind.name, {}):
                return False
            self._write(kind, name, record)
            return True

    def find(self, kind: Kind[R], name: str) -> R | None:
        """Return a record, or None if there is none."""
        with self._lock:
            return cast("R | None", copy.deepcopy(self._records.get(kind.name, {}).get(name)))

    def list(self, kind: Kind[R]) -> list[R]:
        """Return all records of a kind, oldest first."""
        with self._lock:
            return copy.deepcopy(list(self._records.get(kind.name, {}).values()))

    def update(self, kind: Kind[R], name: str, **changes: Any) -> R:
        """Change entries of a record and its LastModifiedTime; None removes an entry.

        Raises: KeyError if it does not exist.
        """

        def change(record: Any) -> None:
            record.update(changes)

        return self.edit(kind, name, change)

    def edit(self, kind: Kind[R], name: str, change: Callable[[R], object]) -> R:
        """Let `change` alter a record and return the result; if it raises, nothing changes.

        An entry that `change` sets to None is removed.

        Raises: KeyError if it does not exist.
        """
        with self._lock:
            record = copy.deepcopy(self._records[kind.name][name])
            change(record)
            record = {key: value for key, value in record.items() if value is not None}
            record["LastModifiedTime"] = time.time()
            self._write(kind, name, record)
            return cast("R", copy.deepcopy(record))

    def delete(self, kind: Kind[R], name: str) -> None:
        """Remove a record, if it exists."""
        with self._lock:
            self._database.execute(
                "DELETE FROM record WHERE kind = ? AND name = ?", (kind.name, name)
            )
            self._records.get(kind.name, {}).pop(name, None)

    def _write(self, kind: Kind[R], name: str, record: Mapping[str, Any]) -> None:
        self._database.execute(_UPSERT, (kind.name, name, json.dumps(record)))
        self._records.setdefault(kind.name, {})[name] = copy.deepcopy(dict(record))
