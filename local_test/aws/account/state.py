"""What the local AWS remembers: one SQLite file of records, each a `dict` by kind and name.

A record is in the API's own names, so that a Describe answer is a selection of it; entries that
start with an underscore are ours. Times are seconds since the epoch.

Rules of this file: a change is on disk before the call returns; a reader gets a copy.
"""

from __future__ import annotations

import copy
import json
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from container.errors import PlatformError

Record = dict[str, Any]
_VERSION = 1


class Store:
    """The records of one directory; safe to use from any thread of one process."""

    def __init__(self, path: Path) -> None:
        """Open or make the file.

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
                    f"{path} was written by a later version of this program; use that one, or purge"
                )
                raise PlatformError(message)
            self._database.execute(
                "CREATE TABLE IF NOT EXISTS record (kind TEXT, name TEXT, body TEXT NOT NULL, PRIMARY KEY (kind, name))"
            )
            self._database.execute(f"PRAGMA user_version={_VERSION}")
            rows = self._database.execute(
                "SELECT kind, name, body FROM record ORDER BY rowid"
            ).fetchall()
        except sqlite3.Error as error:
            message = f"{path} cannot be opened: {error}"
            raise PlatformError(message) from error
        self._records: dict[str, dict[str, Record]] = {}
        for kind, name, body in rows:
            self._records.setdefault(kind, {})[name] = json.loads(body)

    def close(self) -> None:
        """Close the file; the store is not used again."""
        with self._lock:
            self._database.close()

    def insert(self, kind: str, name: str, record: Record) -> bool:
        """Add a record; False, and no change, if the name is taken."""
        with self._lock:
            if name in self._records.get(kind, {}):
                return False
            self._write(kind, name, record)
            return True

    def find(self, kind: str, name: str) -> Record | None:
        """Give a record."""
        with self._lock:
            return copy.deepcopy(self._records.get(kind, {}).get(name))

    def update(self, kind: str, name: str, **changes: Any) -> Record:
        """Change entries of a record and its LastModifiedTime; None removes an entry.

        Raises: KeyError if it does not exist.
        """
        return self.edit(kind, name, lambda record: record.update(changes))

    def edit(self, kind: str, name: str, change: Callable[[Record], object]) -> Record:
        """Let `change` alter a record, and give the result; an error of `change` leaves it as it was.

        Raises: KeyError if it does not exist.
        """
        with self._lock:
            record = copy.deepcopy(self._records[kind][name])
            change(record)
            record = {key: value for key, value in record.items() if value is not None}
            record["LastModifiedTime"] = time.time()
            self._write(kind, name, record)
            return copy.deepcopy(record)

    def delete(self, kind: str, name: str) -> None:
        """Remove a record; it may be gone already."""
        with self._lock:
            self._database.execute("DELETE FROM record WHERE kind = ? AND name = ?", (kind, name))
            self._records.get(kind, {}).pop(name, None)

    def list(self, kind: str) -> list[Record]:
        """Give all records of a kind in the order of their making."""
        with self._lock:
            return copy.deepcopy(list(self._records.get(kind, {}).values()))

    def _write(self, kind: str, name: str, record: Record) -> None:
        self._database.execute(
            "INSERT INTO record VALUES (?, ?, ?) ON CONFLICT (kind, name) DO UPDATE SET body = excluded.body",
            (kind, name, json.dumps(record)),
        )
        self._records.setdefault(kind, {})[name] = copy.deepcopy(record)
