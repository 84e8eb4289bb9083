"""The checkpoint directory and its copy at a URI, which is updated while the job runs.

What the container deletes is deleted at the URI, too (CK-2). What others add there is not fetched
(CK-1). Links and FIFOs are not followed and not stored.
"""

import threading
from pathlib import Path
from typing import Final

from container.errors import PlatformError, UserError
from local_test import container_files
from local_test.container_files import Entry, LeftOutError
from local_test.data import storage

INTERVAL_S: Final = 0.5
"""How often to look for changes; the platform does not document a time."""

_State = tuple[int, int]  # time of the last change in nanoseconds, and size in bytes
_UNKNOWN: Final = (-1, -1)
"""The state of a file that could not be stored; it differs from every other."""


class CheckpointSync:
    """Stores the files of a directory until `close`."""

    def __init__(
        self, directory: Path, uri: str, below: Path | None = None, *, is_mirror: bool = True
    ) -> None:
        """Fetch the stored files into `directory`, and start to store changes.

        No container can replace the directory `below`, by default the one that holds `directory`.
        Without `is_mirror` files are only stored: nothing is fetched or deleted (PR-2).
        """
        self._is_mirror = is_mirror
        self._base = below or directory.parent
        self._place = directory.relative_to(self._base).as_posix()
        self._uri = uri.rstrip("/")
        self._seen: dict[str, _State] = {}
        self._closed = threading.Event()
        directory.mkdir(parents=True, exist_ok=True)
        if is_mirror:
            for item in storage.list_objects(self._uri + "/", may_be_empty=True):
                storage.deliver(item, directory)
        self._seen = {name: _read_state(entry) for name, entry in self._scan([]).items()}
        self._thread = threading.Thread(target=self._follow, daemon=True, name="checkpoints")
        self._thread.start()

    def _scan(self, findings: list[str]) -> dict[str, Entry]:
        """Return the regular files by name; what else there is becomes a finding.

        Raises: PlatformError if a directory cannot be read.
        """
        files = {}
        for entry in container_files.list_tree(self._base, self._place, findings):
            if entry.is_file:
                files[entry.name] = entry
            elif not entry.is_directory:
                what = container_files.describe(entry.status.st_mode)
                findings.append(f"{self._place}/{entry.name} is {what}: not stored (CK-1)")
        return files

    def _follow(self) -> None:
        while not self._closed.wait(INTERVAL_S):
            self._store_changes()  # what fails now is tried again, and reported at the end

    def _store_changes(self) -> list[str]:
        """Store what has changed since the last time, and return findings."""
        findings: list[str] = []
        try:
            files = self._scan(findings)
        except PlatformError as error:
            return [str(error)]
        now = {name: _read_state(entry) for name, entry in files.items()}
        for name, entry in files.items():
            if self._seen.get(name) == now[name]:
                continue
            try:
                with entry.open() as file:
                    storage.store_file(file, f"{self._uri}/{name}")
            except FileNotFoundError:  # it was deleted meanwhile: decide next time
                now[name] = _UNKNOWN
            except (UserError, LeftOutError, OSError) as error:
                now[name] = _UNKNOWN
                findings.append(f"{self._place}/{name} is not stored: {error}")
        for name in self._seen.keys() - files.keys() if self._is_mirror else ():
            try:
                storage.delete(f"{self._uri}/{name}")
            except (UserError, OSError) as error:
                now[name] = self._seen[name]  # tried again next time
                findings.append(f"{self._place}/{name} is not deleted: {error}")
        self._seen = now
        return findings

    def close(self) -> list[str]:
        """Store the last changes and stop; return findings about what is not stored."""
        self._closed.set()
        self._thread.join()
        return self._store_changes()


def _read_state(entry: Entry) -> _State:
    return entry.status.st_mtime_ns, entry.status.st_size
