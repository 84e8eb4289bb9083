"""The bytes of S3's objects as files in one directory.

The name of a file says what it is: `ID` is a current object's, `ID.partial` has no record yet, and
`ID.version` is about to lose its record, or is an older version, which lives as long as the
process. Records decide: a start gives a file that one names its name back, deletes the others of
the last two kinds, and moves any other file that no record names out of the directory.
"""

import contextlib
import os
import shutil
import uuid
from collections.abc import Collection
from pathlib import Path
from typing import IO, Final

from local_test.data import disk

_PARTIAL: Final = ".partial"
_VERSION: Final = ".version"
_ASIDE: Final = "unknown-objects"


class StoredBytes:
    """The bytes of a stored object, as moto reads them.

    The file is open only during a read, as there may be many objects.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._position = 0

    def seek(self, position: int) -> None:
        """Go to a byte."""
        self._position = position

    def read(self, size: int = -1) -> bytes:
        """Read from the position on."""
        with self.path.open("rb") as file:
            file.seek(self._position)
            data = file.read(size)
        self._position += len(data)
        return data

    def close(self) -> None:
        """Do nothing: no file is open between reads."""


class ByteFiles:
    """The files of all objects."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        directory.mkdir(parents=True, exist_ok=True)

    def settle(self, name: str) -> Path | None:
        """Rename a record's file to the name in the record; return it, or None if it is gone."""
        path = self._directory / name
        for end in (_PARTIAL, _VERSION):
            with contextlib.suppress(FileNotFoundError):
                path.with_name(name + end).rename(path)
        return path if path.is_file() else None

    def write(self, source: IO[bytes]) -> str:
        """Write a new file and return its name; it is on disk, and waits for its record.

        Raises: DiskError, with nothing left behind.
        """
        name = uuid.uuid4().hex
        partial = self._directory / (name + _PARTIAL)
        with disk.guard(self._directory):
            try:
                with partial.open("wb") as file:
                    source.seek(0)
                    shutil.copyfileobj(source, file, 1024 * 1024)
                    file.flush()
                    os.fsync(file.fileno())
                self._sync()
            except BaseException:
                partial.unlink(missing_ok=True)
                raise
        return name

    def set_aside(self, name: str) -> Path:
        """Prepare a file for the loss of its record, and return where it is; it may be gone.

        Raises: DiskError.
        """
        aside = self._directory / (name + _VERSION)
        with disk.guard(self._directory), contextlib.suppress(FileNotFoundError):
            (self._directory / name).rename(aside)
        return aside

    def remove(self, name: str) -> None:
        """Remove a file that no record names, if it exists."""
        for end in ("", _PARTIAL, _VERSION):
            with contextlib.suppress(OSError):  # then the next start removes it
                (self._directory / (name + end)).unlink()

    def sweep(self, named: Collection[str]) -> list[str]:
        """Delete what no object can need, move aside what no record names, and describe that."""
        moved = 0
        aside = self._directory.with_name(_ASIDE)
        for path in self._directory.iterdir():
            if path.name in named:
                continue
            if path.name.endswith((_PARTIAL, _VERSION)):
                path.unlink()
                continue
            aside.mkdir(exist_ok=True)
            path.rename(aside / path.name)
            moved += 1
        if not moved:
            return []
        return [f"{moved} file(s) of S3 objects that no record names were moved to {aside}"]

    def _sync(self) -> None:
        """Put the names of the directory's files on disk."""
        with contextlib.suppress(PermissionError):
            descriptor = os.open(self._directory, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
