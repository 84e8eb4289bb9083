"""The SQLite file of the records, opened in whatever state it is; nothing in it is thrown away.

A file that SQLite cannot read is set aside, and what can be read of it goes into a new one. The
file is locked for this process, so it needs no shared memory: it also opens on a full disk.
"""

import contextlib
import json
import shutil
import sqlite3
import time
from pathlib import Path
from typing import Any, Final, NamedTuple

from container.errors import PlatformError
from local_test.data import disk

_VERSION: Final = 1
_TABLES: Final = (
    """CREATE TABLE IF NOT EXISTS record (
    kind TEXT, name TEXT, body TEXT NOT NULL, PRIMARY KEY (kind, name))""",
    "CREATE TABLE IF NOT EXISTS damaged (kind TEXT, name TEXT, body BLOB, reason TEXT, found REAL)",
)
_UPSERT: Final = """INSERT INTO record VALUES (?, ?, ?)
    ON CONFLICT (kind, name) DO UPDATE SET body = excluded.body"""
_PAGES_PER_CHECKPOINT: Final = 100  # bounds what is only in the write-ahead log
_SALVAGE_BYTES: Final = 2**32
_PROBE_BYTES: Final = 64 * 1024


class Row(NamedTuple):
    """One record as it is on disk."""

    kind: str
    name: str
    body: str


class Database:
    """One file of records; the caller serializes the calls."""

    def __init__(self, path: Path) -> None:
        """Open or create the file.

        Raises: PlatformError if it cannot be opened, or was written by a later version.
        """
        self.warnings: list[str] = []
        """What was wrong with the file, as sentences for its user."""
        self._path = path
        try:
            self._connection = self._open_or_rebuild()
        except (OSError, sqlite3.Error) as error:
            raise PlatformError(f"cannot open {path}: {error}") from error

    def close(self) -> None:
        """Close the file; all of it is in the file itself then, and nothing in a log beside it."""
        self._connection.close()

    def read(self) -> list[Row]:
        """Return all records, oldest first; what is not text is set apart as damaged."""
        rows = []
        for kind, name, body in self._connection.execute(
            "SELECT kind, name, body FROM record ORDER BY rowid"
        ).fetchall():
            try:
                rows.append(Row(kind.decode(), name.decode(), body.decode()))
            except (UnicodeDecodeError, AttributeError):
                self.set_apart(kind, name, body, "not text")
        return rows

    def write(self, kind: str, name: str, body: str) -> None:
        """Insert or replace a record. Raises: DiskError."""
        self._execute(_UPSERT, (kind, name, body))

    def delete(self, kind: str, name: str) -> None:
        """Delete a record, if it exists. Raises: DiskError."""
        self._execute("DELETE FROM record WHERE kind = ? AND name = ?", (kind, name))

    def set_apart(self, kind: Any, name: Any, body: Any, reason: str) -> None:
        """Move a record to the table of damaged ones; it stays where it is on a full disk."""
        shown = name.decode("utf-8", "replace") if isinstance(name, bytes) else name
        self.warnings.append(
            f"the record {shown!r} is damaged ({reason}); it is ignored, and kept in the table "
            f"'damaged' of {self._path}"
        )
        try:
            with self._connection:
                self._execute("BEGIN", ())
                values = (kind, name, body, reason, time.time())
                self._execute("INSERT INTO damaged VALUES (?, ?, ?, ?, ?)", values)
                # As SQLite compares no text to bytes, both are cast.
                self._execute(
                    "DELETE FROM record WHERE CAST(kind AS BLOB) IS CAST(? AS BLOB) "
                    "AND CAST(name AS BLOB) IS CAST(? AS BLOB)",
                    (kind, name),
                )
        except disk.DiskError as error:
            self.warnings.append(str(error))

    def checkpoint(self) -> None:
        """Bring what is only in the write-ahead log into the file itself, if that can be done."""
        with contextlib.suppress(sqlite3.Error):
            self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)")

    def probe(self) -> None:
        """Write something that changes nothing: to the file, and as a file of some size.

        Raises: DiskError.
        """
        trial = self._path.with_name(f"{self._path.name}.probe")
        with disk.guard(self._path.parent):
            try:
                trial.write_bytes(bytes(_PROBE_BYTES))
            finally:
                trial.unlink(missing_ok=True)
        self._execute(f"PRAGMA user_version={_VERSION}", ())

    def _execute(self, statement: str, values: tuple[Any, ...]) -> None:
        with disk.guard(self._path.parent):
            try:
                self._connection.execute(statement, values)
            except sqlite3.OperationalError:
                if self._connection.in_transaction:
                    raise
                # The log starts again at its beginning, which takes no new space.
                self._connection.execute("PRAGMA wal_checkpoint(RESTART)")
                self._connection.execute(statement, values)

    def _open_or_rebuild(self) -> sqlite3.Connection:
        is_new = not self._path.exists()
        connection = _connect(self._path)
        try:
            version = self._check_version(connection)
            faults = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
            if faults in (b"ok", "ok"):
                self._prepare(connection, is_complete=not is_new and version == _VERSION)
                return connection
        except sqlite3.DatabaseError as error:
            if error.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
                connection.close()
                raise
        except PlatformError:
            connection.close()
            raise
        return self._rebuild(connection)

    def _check_version(self, connection: sqlite3.Connection) -> int:
        version = int(connection.execute("PRAGMA user_version").fetchone()[0])
        if version > _VERSION:
            raise PlatformError(
                f"{self._path} was written by a later version of this program (format {version}); "
                "use that version, or delete the data with purge"
            )
        return version

    def _prepare(self, connection: sqlite3.Connection, *, is_complete: bool) -> None:
        """Make the tables; an older complete file on a full disk does without the second."""
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            for statement in _TABLES:
                connection.execute(statement)
            if not is_complete:
                connection.execute(f"PRAGMA user_version={_VERSION}")
        except sqlite3.OperationalError as error:
            explained = disk.explain(error, self._path.parent)
            if not is_complete or explained is None:
                raise
            self.warnings.append(str(explained))

    def _rebuild(self, damaged: sqlite3.Connection) -> sqlite3.Connection:
        """Set a damaged file aside, and write what can be read of it into a new one."""
        damaged.close()
        rows = _salvage(self._path)
        rebuilt = self._path.with_name(f"{self._path.name}.rebuilt")
        rebuilt.unlink(missing_ok=True)
        connection = _connect(rebuilt)
        self._prepare(connection, is_complete=False)
        with connection:
            connection.execute("BEGIN")
            connection.executemany(_UPSERT, rows)
        connection.close()
        aside = self._path.with_name(f"{self._path.name}.damaged-{int(time.time())}")
        for end in ("-wal", "-shm", ""):
            source = self._path.with_name(self._path.name + end)
            if source.exists():
                source.replace(aside.with_name(aside.name + end))
        rebuilt.replace(self._path)
        self.warnings.append(
            f"{self._path} was damaged; {len(rows)} records could be read, and the damaged file is "
            f"kept as {aside}"
        )
        connection = _connect(self._path)
        self._prepare(connection, is_complete=True)
        return connection


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
    connection.text_factory = bytes  # damaged text must not end the start
    connection.execute("PRAGMA locking_mode=EXCLUSIVE")
    connection.execute(f"PRAGMA wal_autocheckpoint={_PAGES_PER_CHECKPOINT}")
    return connection


def _salvage(path: Path) -> list[Row]:
    """Return the readable records of a damaged file: those before the damage and after it."""
    copy = path.with_name(f"{path.name}.copy")
    for end in ("-wal", ""):
        if path.with_name(path.name + end).exists():
            shutil.copy(path.with_name(path.name + end), copy.with_name(copy.name + end))
    _fill_up(copy)
    connection = _connect(copy)
    found: dict[int, Row] = {}
    for order in ("", " DESC"):
        with contextlib.suppress(sqlite3.Error):  # the other end may be readable
            _read_until_damage(connection, order, found)
    connection.close()
    for end in ("-wal", "-shm", ""):
        copy.with_name(copy.name + end).unlink(missing_ok=True)
    return [found[number] for number in sorted(found)]


def _fill_up(path: Path) -> None:
    """Give a file that was cut off its length again, as SQLite reads nothing of it otherwise."""
    with path.open("r+b") as file:
        head = file.read(32)
        page_bytes = int.from_bytes(head[16:18])
        length = page_bytes * int.from_bytes(head[28:32])
        if head.startswith(b"SQLite format 3") and path.stat().st_size < length < _SALVAGE_BYTES:
            file.truncate(length)


def _read_until_damage(connection: sqlite3.Connection, order: str, found: dict[int, Row]) -> None:
    # The table itself is read, as the index of its key may be damaged, too.
    source = "record NOT INDEXED ORDER BY rowid" + order
    query = f"SELECT rowid, kind, name, body FROM {source}"  # noqa: S608 - two constants
    for number, kind, name, body in connection.execute(query):
        if number in found:
            return
        with contextlib.suppress(ValueError, AttributeError, RecursionError):  # it stays aside
            row = Row(kind.decode(), name.decode(), body.decode())
            json.loads(row.body)
            found[number] = row
