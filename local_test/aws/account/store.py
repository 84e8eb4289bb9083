"""The records of the local AWS in one SQLite file, by kind and name.

Rules of this file: a change is on disk before the call returns, or it is not made; a reader gets a
copy. Only what has happened already, such as the end of a job, is noted in memory if the disk is
full, and written as soon as there is room.
"""

import copy
import json
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

from local_test.aws.account import integrity
from local_test.aws.account.database import Database
from local_test.aws.account.kinds import RESOURCES, Kind, R
from local_test.data.disk import DiskError


class Store:
    """The records of one directory; safe to use from any thread of one process."""

    def __init__(self, path: Path) -> None:
        """Open or create the file.

        Raises: PlatformError if it cannot be opened, or was written by a later version.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        self.fault = ""
        """Why the last change could not be written; empty if it could."""
        self.watch: Callable[[Kind[Any], Any, Any], None] = lambda *_: None
        """Called with kind, old and new record of each change; it must not change them."""
        self._lock = threading.RLock()
        self._is_closed = False
        self._is_changed = False
        self._records: dict[str, dict[str, Any]] = {}
        self._unwritten: dict[tuple[str, str], None] = {}  # in the order of their changes
        self._database = Database(path)
        for kind, name, body in self._database.read():
            try:
                self._records.setdefault(kind, {})[name] = integrity.load(kind, body)
            except ValueError as error:
                self._database.set_apart(kind, name, body, str(error))
        self.warnings = self._database.warnings
        """What was found damaged, as sentences for the user."""
        self._probe()

    def close(self) -> None:
        """Close the file; the store cannot be used afterwards."""
        with self._lock:
            self.flush()
            self._is_closed = True
            self._database.close()

    def insert(self, kind: Kind[R], name: str, record: Mapping[str, Any]) -> bool:
        """Add a record; return False, and change nothing, if the name is taken.

        So is the name of a resource that differs only in case from another: their ARN is the same.

        Raises: DiskError.
        """
        with self._lock:
            names = self._records.get(kind.name, {})
            if name in names or (kind.name in RESOURCES and name.lower() in map(str.lower, names)):
                return False
            self._write(kind, name, record)
            return True

    def find(self, kind: Kind[R], name: str) -> R | None:
        """Return a record, or None."""
        with self._lock:
            return cast("R | None", copy.deepcopy(self._records.get(kind.name, {}).get(name)))

    def list(self, kind: Kind[R]) -> list[R]:
        """Return all records of a kind, oldest first."""
        with self._lock:
            return copy.deepcopy(list(self._records.get(kind.name, {}).values()))

    def update(self, kind: Kind[R], name: str, **changes: Any) -> R:
        """Change entries of a record and its LastModifiedTime; None removes an entry.

        Raises: KeyError if it does not exist, DiskError.
        """
        return self.edit(kind, name, lambda record: cast("Any", record).update(changes))

    def edit(self, kind: Kind[R], name: str, change: Callable[[R], object]) -> R:
        """Let `change` alter a record and return the result; if it raises, nothing changes.

        An entry that `change` sets to None is removed.

        Raises: KeyError if it does not exist, DiskError.
        """
        with self._lock:
            record = self._change(kind, name, change)
            self._write(kind, name, record)
            return cast("R", copy.deepcopy(record))

    def note(self, kind: Kind[R], name: str, change: Callable[[R], object]) -> None:
        """Alter a record as `edit` does, also if it cannot be written now.

        It is for what has happened, whether the disk has room or not.

        Raises: KeyError if it does not exist.
        """
        with self._lock:
            record = self._change(kind, name, change)
            try:
                self._write(kind, name, record)
            except DiskError:
                self._put(kind, name, record)
                self._unwritten[kind.name, name] = None

    def delete(self, kind: Kind[R], name: str) -> None:
        """Remove a record, if it exists. Raises: DiskError."""
        with self._lock:
            self._run(self._database.delete, kind.name, name)
            self._put(kind, name, None)
            self._unwritten.pop((kind.name, name), None)

    def forget(self, kind: Kind[R], name: str) -> None:
        """Remove the record of something that is gone, also if that cannot be written now."""
        with self._lock:
            try:
                self.delete(kind, name)
            except DiskError:
                self._put(kind, name, None)
                self._unwritten[kind.name, name] = None

    def flush(self) -> None:
        """Write what could not be written before, if there is room now.

        Called now and then, it keeps the file itself up to date, and its log short.
        """
        with self._lock:
            if self._is_closed:
                return
            if self._is_changed:
                self._database.checkpoint()
                self._is_changed = False
            try:
                for kind, name in list(self._unwritten):
                    record = self._records.get(kind, {}).get(name)
                    if record is None:
                        self._run(self._database.delete, kind, name)
                    else:
                        self._run(self._database.write, kind, name, json.dumps(record))
                    del self._unwritten[kind, name]
            except DiskError:
                return  # the next flush tries again

    def _change(self, kind: Kind[R], name: str, change: Callable[[R], object]) -> dict[str, Any]:
        record = copy.deepcopy(self._records[kind.name][name])
        change(record)
        record = {key: value for key, value in record.items() if value is not None}
        record["LastModifiedTime"] = time.time()
        return record

    def _write(self, kind: Kind[R], name: str, record: Mapping[str, Any]) -> None:
        self._run(self._database.write, kind.name, name, json.dumps(record))
        self._put(kind, name, copy.deepcopy(dict(record)))
        self._unwritten.pop((kind.name, name), None)

    def _put(self, kind: Kind[R], name: str, record: dict[str, Any] | None) -> None:
        records = self._records.setdefault(kind.name, {})
        before = records.get(name)
        if record is None:
            records.pop(name, None)
        else:
            records[name] = record
        self.watch(kind, before, record)

    def _run(self, write: Callable[..., None], *arguments: str) -> None:
        if self._is_closed:
            raise DiskError("the local AWS is stopping; nothing was changed")
        try:
            write(*arguments)
        except DiskError as error:
            self.fault = self.fault or str(error)
            raise
        if self.fault:  # a small change can succeed where there is no room for another
            self._probe()
        self._is_changed = True

    def _probe(self) -> None:
        """Find out whether changes can be written; `fault` says why not."""
        try:
            self._database.probe()
            self.fault = ""
            self._is_changed = True
        except DiskError as error:
            self.fault = f"read-only until there is room: {error}"
