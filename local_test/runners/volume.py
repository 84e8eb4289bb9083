"""A job's volume that can be made full at a chosen moment: a file system in memory on the job directory. Linux, root.

Both runners see it, as it is mounted before they start; `/tmp` is not on it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from container.errors import PlatformError

_ATTEMPTS = 50


class Volume:
    """Stands at `root`, an empty directory, until `close`, which leaves the files in a plain directory there."""

    def __init__(self, root: Path) -> None:
        """Mount it.

        Raises: PlatformError if this user, or this machine, cannot mount.
        """
        self._root = root
        root.mkdir(parents=True, exist_ok=True)
        _mount("-t", "tmpfs", "-o", "size=90%", "local-test", str(root))

    def fill(self) -> None:
        """Let it have no room for one byte more than lies in it now."""
        for attempts_left in reversed(range(_ATTEMPTS)):
            status = os.statvfs(self._root)
            used = (status.f_blocks - status.f_bfree) * status.f_frsize
            try:
                _mount("-o", f"remount,size={max(used, status.f_frsize)}", str(self._root))
            except PlatformError:  # the job has written more meanwhile
                if not attempts_left:
                    raise
            else:
                return

    def close(self) -> None:
        """Take the files out of it and unmount it."""
        aside = self._root.with_name(f".{self._root.name}.files")
        try:
            shutil.copytree(self._root, aside, symlinks=True, ignore=_ignore_special)
        finally:
            subprocess.run(["umount", "--lazy", str(self._root)], check=False, capture_output=True)  # noqa: S603, S607
        self._root.rmdir()
        aside.rename(self._root)


def _ignore_special(directory: str, names: list[str]) -> list[str]:
    """Name the FIFOs and sockets of a directory: they cannot be copied, and are left out of archives, too."""
    return [
        name
        for name in names
        if (path := Path(directory, name)).exists() and not (path.is_file() or path.is_dir())
    ]


def _mount(*arguments: str) -> None:
    try:
        done = subprocess.run(["mount", *arguments], check=False, capture_output=True, text=True)  # noqa: S603, S607
    except OSError as error:
        message = f"a volume that can be made full needs Linux: {error}"
        raise PlatformError(message) from error
    if done.returncode != 0:
        message = f"a volume that can be made full needs Linux and root: {done.stderr.strip()}"
        raise PlatformError(message)
