"""Makes what a container wrote readable and removable for this user.

Files of a container may belong to root, or to a user that only the engine knows. Then this user can
neither read nor remove some of them. The engine writes these once more, as this user's: of a
directory only the header, of a file also the content.
"""

import contextlib
import itertools
import os
import tarfile
import tempfile
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from container.errors import PlatformError
from local_test.runners import engine

_REFUSALS: Final = (*engine.UNREACHABLE, PlatformError, OSError, tarfile.TarError)


@dataclass(frozen=True)
class Takeover:
    """What a container that has ended wrote in the mounts of `root`, to be given to this user."""

    container: Any
    root: Path
    read_only: Collection[str]
    """Mounts that it could not write to."""

    def run(self) -> None:
        """Open every directory and file; what the engine does not rewrite stays as it is."""
        if os.geteuid() == 0:  # root reads and removes everything
            return
        tried: set[Path] = set()
        while found := [path for path in self._list_closed() if path not in tried]:
            tried.update(found)
            foreign = [path for path in found if not _open_own(path)]
            for mount, paths in itertools.groupby(foreign, self._find_mount):
                with contextlib.suppress(*_REFUSALS):
                    self._rewrite(mount, list(paths))

    def _list_closed(self) -> Iterator[Path]:
        """Yield directories that this user cannot use, and files that it cannot read."""
        pending = sorted(path for path in self.root.iterdir() if path.name not in self.read_only)
        while pending:
            path = pending.pop()
            if path.is_symlink():
                continue
            if path.is_file() and not os.access(path, os.R_OK):
                yield path
            elif path.is_dir():
                if os.access(path, os.R_OK | os.W_OK | os.X_OK):
                    with contextlib.suppress(OSError):  # a path that is too long
                        pending += path.iterdir()
                else:
                    yield path  # what is in it is found once it is open

    def _find_mount(self, path: Path) -> Path:
        return self.root / path.relative_to(self.root).parts[0]

    def _rewrite(self, mount: Path, paths: Sequence[Path]) -> None:
        self._put(mount, paths)
        if mount in paths:
            # Podman changes a mount itself by its entry `.`, Docker by its name in `/opt/ml`.
            self._put(self.root, [mount])

    def _put(self, base: Path, paths: Sequence[Path]) -> None:
        with tempfile.TemporaryFile(dir=self.root) as spool:
            with tarfile.open(fileobj=spool, mode="w") as archive:
                for path in paths:
                    self._add(archive, path, str(path.relative_to(base)))
            spool.seek(0)
            self.container.put_archive(self._place(base), spool)

    def _add(self, archive: tarfile.TarFile, path: Path, name: str) -> None:
        status = path.lstat()
        member = tarfile.TarInfo(name)
        member.mode = status.st_mode & 0o777 | 0o600
        member.mtime = status.st_mtime
        member.uid, member.gid = engine.find_owner()
        if path.is_dir():
            member.type = tarfile.DIRTYPE
            member.mode |= 0o700
            archive.addfile(member)
            return
        with tempfile.TemporaryFile(dir=self.root) as received:
            pieces, _ = self.container.get_archive(self._place(path))
            received.writelines(pieces)
            received.seek(0)
            with tarfile.open(fileobj=received) as found:
                member.size = status.st_size
                archive.addfile(member, found.extractfile(found.getmembers()[0]))

    def _place(self, path: Path) -> str:
        return (Path("/opt/ml") / path.relative_to(self.root)).as_posix()


def _open_own(path: Path) -> bool:
    """Return whether this user owns it; if so, it is open now."""
    status = path.lstat()
    if status.st_uid != os.geteuid():
        return False
    path.chmod(status.st_mode & 0o777 | 0o700)
    return True
