"""A volume for a job directory that can become full at a chosen moment. Linux, root.

It is a file system in memory. It is mounted before a runner starts, so both runners see it. `/tmp`
is not on it.
"""

import os
import subprocess
from pathlib import Path

from container.errors import PlatformError

_ATTEMPTS = 50


class Volume:
    """A file system at `root`, an empty directory, until `close`."""

    def __init__(self, root: Path) -> None:
        """Mount it. Raises: PlatformError if this user, or this machine, cannot mount."""
        self._root = root
        root.mkdir(parents=True, exist_ok=True)
        _mount("-t", "tmpfs", "-o", "size=90%", "local-test", str(root))

    def fill(self) -> None:
        """Shrink it to what is in it now, so that no further byte fits."""
        for attempts_left in reversed(range(_ATTEMPTS)):
            status = os.statvfs(self._root)
            used = (status.f_blocks - status.f_bfree) * status.f_frsize
            try:
                _mount("-o", f"remount,size={max(used, status.f_frsize)}", str(self._root))
            except PlatformError:  # the job has written more in the meantime
                if not attempts_left:
                    raise
            else:
                return

    def close(self) -> None:
        """Unmount it, and leave its files in a plain directory at `root`."""
        aside = self._root.with_name(f".{self._root.name}.files")
        # A container may have nested directories more deeply than Python's functions recurse, and
        # `cp` opens neither links nor FIFOs. What it cannot copy is left out.
        for command in (
            ["cp", "--archive", "--", str(self._root), str(aside)],
            ["umount", "--lazy", str(self._root)],
        ):
            subprocess.run(command, check=False, capture_output=True)  # noqa: S603 - from PATH
        self._root.rmdir()
        aside.rename(self._root)


def _mount(*arguments: str) -> None:
    try:
        command = ["mount", *arguments]
        done = subprocess.run(command, check=False, capture_output=True)  # noqa: S603 - from PATH
    except OSError as error:
        raise PlatformError(f"a volume that can become full needs Linux: {error}") from error
    if done.returncode != 0:
        raise PlatformError(
            f"a volume that can become full needs Linux and root: {done.stderr.decode().strip()}"
        )
