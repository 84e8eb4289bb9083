"""A file of lines that survives a full disk: lines that do not fit are left out and counted.

A program whose output is written here must not end because the disk is full.
"""

import os
from collections.abc import Callable
from pathlib import Path

from local_test.data import disk


class LineFile:
    """Appends to one file; the caller serializes the calls."""

    def __init__(self, path: Path, make_line: Callable[[str], bytes]) -> None:
        """`make_line` encodes a line, with its end; it also encodes the note of lost lines."""
        self._path = path
        self._make_line = make_line
        self._descriptor: int | None = None
        self._lost = 0

    def append(self, line: str) -> bool:
        """Add a line and return True, or count it as lost if the disk is full."""
        lines = self._make_line(line)
        if self._lost:
            note = f"[{self._lost} line(s) are missing here: the disk was full]"
            lines = self._make_line(note) + lines
        try:
            is_written = self._write(lines)
        except OSError as error:
            if not disk.is_full(error):
                raise
            is_written = False
        self._lost = 0 if is_written else self._lost + 1
        return is_written

    def close(self) -> None:
        """Close the file."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _write(self, data: bytes) -> bool:
        """Write all of some bytes or none of them; return which."""
        if self._descriptor is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
            self._descriptor = os.open(self._path, flags, 0o644)
        start = os.fstat(self._descriptor).st_size
        if os.write(self._descriptor, data) == len(data):
            return True
        os.ftruncate(self._descriptor, start)
        return False
