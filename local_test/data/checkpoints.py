"""The checkpoint directory and its copy at a URI, which is updated while the job runs.

What the container deletes is deleted at the URI, too (CK-2). What others add there is not fetched
(CK-1).
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Final

from container.errors import UserError
from local_test.data import storage

INTERVAL_S: Final = 0.5
"""How often to look for changes; the platform does not document a time."""


class CheckpointSync:
    """Stores the files of a directory until `close`."""

    def __init__(self, directory: Path, uri: str) -> None:
        """Fetch the stored files into `directory`, and start to store changes."""
        self._directory = directory
        self._uri = uri.rstrip("/")
        self._seen: dict[str, tuple[int, int]] = {}
        self._closed = threading.Event()
        directory.mkdir(parents=True, exist_ok=True)
        for item in storage.list_objects(self._uri + "/", may_be_empty=True):
            storage.fetch(item.uri, directory / item.name)
        self._seen = self._scan()
        self._thread = threading.Thread(target=self._follow, daemon=True, name="checkpoints")
        self._thread.start()

    def _scan(self) -> dict[str, tuple[int, int]]:
        found = {}
        for path in self._directory.rglob("*"):
            try:
                status = path.stat()
            except FileNotFoundError:
                continue
            if path.is_file():
                found[str(path.relative_to(self._directory))] = (status.st_mtime_ns, status.st_size)
        return found

    def _follow(self) -> None:
        while not self._closed.wait(INTERVAL_S):
            self._store_changes()

    def _store_changes(self) -> None:
        now = self._scan()
        changed = [name for name, state in now.items() if self._seen.get(name) != state]
        for name in changed:
            try:
                storage.store(self._directory / name, f"{self._uri}/{name}")
            except UserError:
                now.pop(name)  # it was deleted meanwhile: decide next time
        for name in self._seen.keys() - now.keys():
            storage.delete(f"{self._uri}/{name}")
        self._seen = now

    def close(self) -> None:
        """Store the last changes and stop."""
        self._closed.set()
        self._thread.join()
        self._store_changes()
