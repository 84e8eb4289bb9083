"""The log groups of SageMaker, `/aws/sagemaker/...`, as files that jobs append to.

An event is a line `MILLISECONDS TEXT`. Readers address it by the offset of its first byte, so that
reading a page costs only that page, and every log survives a crash.
"""

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, unquote

from local_test.data.line_file import LineFile

_STAMP_LIMIT = 15  # digits; of milliseconds since the epoch, there are 13


class Event(NamedTuple):
    """One line of a log, and where it is in its file."""

    start: int
    """Offset of its first byte."""
    end: int
    """Offset of the next event."""
    time_ms: int
    text: str


class LogStore:
    """The log groups of one account; safe to use from any thread."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._files: dict[Path, LineFile] = {}
        self._lock = threading.Lock()
        self.queries: dict[str, dict[str, Any]] = {}
        """The latest Insights queries with their results, by ID, oldest first."""

    def append(self, group: str, stream: str, line: str) -> None:
        """Add one line, without its line end, to a stream; create the stream if it is new."""
        path = self.path(group, stream)
        with self._lock:
            if path not in self._files:
                self._files[path] = LineFile(path, _make_event)
            self._files[path].append(line)

    def finish(self, group: str, prefix: str) -> None:
        """Close the files of all streams whose names start with `prefix`."""
        start = str(self.path(group, prefix))
        with self._lock:
            for path in [path for path in self._files if str(path).startswith(start)]:
                self._files.pop(path).close()

    def path(self, group: str, stream: str) -> Path:
        """Return the file of a stream."""
        return self._directory / quote(group, safe="") / quote(stream, safe="")

    def groups(self) -> list[str]:
        """Return the names of all groups, sorted."""
        return _list_names(self._directory)

    def streams(self, group: str, prefix: str = "") -> list[str]:
        """Return the names of a group's streams, sorted."""
        names = _list_names(self._directory / quote(group, safe=""))
        return [name for name in names if name.startswith(prefix)]

    def read(self, group: str, stream: str, offset: int = 0) -> Iterator[Event]:
        """Yield every complete event from `offset` on; a damaged one has the time of the last.

        CloudWatch has no events without text, so empty lines are left out.
        """
        time_ms = 0
        with self.path(group, stream).open("rb") as file:
            file.seek(offset)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                stamp, _, text = line[:-1].partition(b" ")
                if stamp.isdigit() and len(stamp) < _STAMP_LIMIT:
                    time_ms = int(stamp)
                else:
                    text = line[:-1]
                end = offset + len(line)
                if text:
                    yield Event(offset, end, time_ms, text.decode("utf-8", "replace"))
                offset = end

    def created_ms(self, group: str, stream: str) -> int:
        """Return when a stream got its first line, be it empty."""
        path = self.path(group, stream)
        with path.open("rb") as file:
            stamp = file.read(_STAMP_LIMIT).partition(b" ")[0]
        return int(stamp) if stamp.isdigit() else int(path.stat().st_mtime * 1000)

    def read_tail(self, group: str, stream: str, size_bytes: int) -> Iterator[Event]:
        """Yield the complete events among a stream's last bytes."""
        start = max(0, self.path(group, stream).stat().st_size - size_bytes)
        if start:
            with self.path(group, stream).open("rb") as file:
                file.seek(start)
                start += len(file.readline())
        yield from self.read(group, stream, start)


def _make_event(line: str) -> bytes:
    return f"{time.time_ns() // 1_000_000} {line}\n".encode("utf-8", "replace")


def _list_names(directory: Path) -> list[str]:
    try:
        return sorted(unquote(entry.name) for entry in os.scandir(directory))
    except FileNotFoundError:
        return []
