"""What the platform takes from a container that has ended: archives, the failure file, and what is wrong with them."""

from __future__ import annotations

import os
import stat
import tarfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from container import contract
from container.errors import PlatformError, UserError

# OUT-12: what an exit code alone tells.
_EXIT_CODE_MEANINGS = {
    126: "the entry point is not executable: no execute bit, or a directory",
    127: "the entry point was not found: not on PATH, or a script with CRLF line ends",
    132: "illegal instruction: the program was built for a newer processor",
    134: "abort: a native library gave up",
    137: "SIGKILL: out of memory, or killed after the stop's grace",
    139: "segmentation fault in native code",
    143: "SIGTERM was not handled",
}


def list_files(root: Path) -> tuple[list[Path], list[str]]:
    """Give the members for an archive of `root`, in order, and a finding for each that has no place in one (OUT-6)."""
    members: list[Path] = []
    findings: list[str] = []
    for folder, directories, names in os.walk(root):
        directories.sort()
        for name in [*directories, *sorted(names)]:
            path = Path(folder) / name
            status = path.lstat()
            if stat.S_ISLNK(status.st_mode):
                findings.append(
                    f"{path.relative_to(root)} is a symbolic link: CreateModel refuses such an archive (OUT-6)"
                )
                members.append(path)
            elif stat.S_ISREG(status.st_mode):
                if status.st_nlink > 1:
                    findings.append(
                        f"{path.relative_to(root)} is a hard link: stored as a whole file (OUT-6)"
                    )
                members.append(path)
            elif stat.S_ISDIR(status.st_mode):
                members.append(path)
            else:
                findings.append(
                    f"{path.relative_to(root)} is a socket, FIFO or device: left out (OUT-6)"
                )
    return members, findings


def merge(roots: Mapping[str, Path]) -> tuple[dict[str, Path], list[str]]:
    """Merge every host's directory (OUT-5): give the members by name below the root, in order, and the findings.

    Of a name that several hosts wrote, the first host's file is kept.
    """
    findings: list[str] = []
    merged: dict[str, Path] = {}
    owners: dict[str, str] = {}
    for host, root in roots.items():
        members, faults = list_files(root)
        findings += [f"{host}: {fault}" if len(roots) > 1 else fault for fault in faults]
        for path in members:
            name = str(path.relative_to(root))
            if name not in owners:
                owners[name], merged[name] = host, path
            elif not path.is_dir():
                findings.append(
                    f"{name} was written by {owners[name]} and {host}: one of them wins (OUT-5)"
                )
    return merged, findings


def archive(roots: Mapping[str, Path], target: Path) -> list[str]:
    """Write every host's directory into one `tar.gz`, members relative to its root (OUT-3), and give the findings.

    Raises: PlatformError if the disk is full.
    """
    members, findings = merge(roots)
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with tarfile.open(target, "w:gz", compresslevel=1) as tar:
            for name, path in members.items():
                tar.inodes = {}  # type: ignore[attr-defined]  # a hard link becomes a file of its own
                tar.add(path, arcname=name, recursive=False)
    except OSError as error:
        message = f"{target} cannot be written: {error}"
        raise PlatformError(message) from error
    if not members:
        findings.append(f"{target.name} is empty: the container wrote nothing there (TRIP-24)")
    return findings


def unpack(source: Path, target: Path) -> None:
    """Unpack a model archive as CreateModel does.

    Raises: UserError if it is no whole `tar.gz`, or holds links, special files or paths that lead
    out of it (OUT-6).
    """
    try:
        with tarfile.open(source, "r:gz") as tar:
            members = tar.getmembers()
            wrong = [member.name for member in members if not _is_harmless(member)]
            if wrong:
                message = (
                    f"{source} holds links, special files or paths that lead out, which CreateModel refuses (OUT-6): "
                    f"{', '.join(wrong[:5])}"
                )
                raise UserError(message)
            # The first releases of Python 3.11 have no filters, later ones warn without.
            options: Any = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
            tar.extractall(target, **options)  # noqa: S202 - every member was looked at
            while tar.fileobj is not None and tar.fileobj.read(1 << 20):
                pass  # up to the checksum at the end, which tells a cut archive
    except (tarfile.TarError, EOFError, OSError) as error:
        message = f"{source} is not a whole tar.gz archive: {error}"
        raise UserError(message) from error


def read_failure(layout: contract.Layout) -> str:
    """Give the start of the failure file, as DescribeTrainingJob shows it (OUT-2); empty if there is none."""
    try:
        with layout.failure.open("rb") as file:
            text = file.read(4 * contract.FAILURE_REASON_CHARACTERS).decode("utf-8", "replace")
    except OSError:
        return ""
    return text[: contract.FAILURE_REASON_CHARACTERS]


def explain_exit(code: int, note: str = "") -> str:
    """Say what the platform can tell of a failure without a failure file; `note` is what a runner knows besides."""
    meaning = note or _EXIT_CODE_MEANINGS.get(code)
    return f"AlgorithmError: the container ended with exit code: {code}" + (
        f" ({meaning})" if meaning else ""
    )


def _is_harmless(member: tarfile.TarInfo) -> bool:
    path = PurePosixPath(member.name)
    return (member.isfile() or member.isdir()) and not path.is_absolute() and ".." not in path.parts
