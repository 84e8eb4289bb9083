"""Unpacking archives of others: files and directories alone, inside the target, whoever packed them (SEC-3, OUT-6).

Python's own filter for this is missing from the first releases of 3.11, which distributions still
ship, so what it promises is done here for all.
"""

from __future__ import annotations

import os
import tarfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any


def is_harmless(member: tarfile.TarInfo) -> bool:
    """Tell whether a member is a file or directory whose path stays inside the target."""
    path = PurePosixPath(member.name)
    return (member.isfile() or member.isdir()) and not path.is_absolute() and ".." not in path.parts


def unpack(archive: tarfile.TarFile, members: Sequence[tarfile.TarInfo], target: Path) -> None:
    """Unpack harmless members as files of this process's user, without set-user-id bits.

    Raises: ValueError for a member that is not harmless; what `tarfile` raises for a broken archive
    or a full disk.
    """
    harmful = [member.name for member in members if not is_harmless(member)]
    if harmful:
        message = f"not a file or directory inside the archive: {', '.join(map(repr, harmful[:5]))}"
        raise ValueError(message)
    for member in members:
        member.uid, member.gid, member.uname, member.gname = os.getuid(), os.getgid(), "", ""
        member.mode = member.mode & 0o755 | (0o700 if member.isdir() else 0o600)
    options: Any = (
        {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
    )  # later Pythons warn without one
    archive.extractall(target, members=members, **options)  # noqa: S202 - every member was looked at
