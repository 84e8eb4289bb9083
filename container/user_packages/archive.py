"""Unpacks untrusted archives: only files and directories, only inside the target (SEC-3, OUT-6).

The first releases of Python 3.11, which distributions still ship, lack `tarfile`'s own filter; the
same checks are made here for every version.
"""

from __future__ import annotations

import os
import tarfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any


def is_harmless(member: tarfile.TarInfo) -> bool:
    """Return whether a member is a file or directory whose path stays inside the target."""
    path = PurePosixPath(member.name)
    return (member.isfile() or member.isdir()) and not path.is_absolute() and ".." not in path.parts


def unpack(archive: tarfile.TarFile, members: Sequence[tarfile.TarInfo], target: Path) -> None:
    """Unpack members as files of this process's user, without set-user-ID bits.

    Raises: ValueError for a member that is not harmless; tarfile.TarError, EOFError or OSError.
    """
    harmful = [member.name for member in members if not is_harmless(member)]
    if harmful:
        message = f"not a file or directory inside the archive: {', '.join(map(repr, harmful[:5]))}"
        raise ValueError(message)
    for member in members:
        member.uid, member.gid, member.uname, member.gname = os.getuid(), os.getgid(), "", ""
        member.mode = member.mode & 0o755 | (0o700 if member.isdir() else 0o600)
    options: dict[str, Any] = {}
    if hasattr(tarfile, "data_filter"):  # later Pythons warn without a filter
        options["filter"] = "data"
    archive.extractall(target, members=members, **options)  # noqa: S202 - checked above
