"""What the platform takes from a container that has ended: archives and the failure file."""

from __future__ import annotations

import os
import stat
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from container import contract
from container.errors import PlatformError

_EXIT_CODE_MEANINGS: Final = {  # OUT-12
    126: "the entry point is not executable: no execute bit, or a directory",
    127: "the entry point was not found: not on PATH, or a script with CRLF line endings",
    132: "illegal instruction: the program was built for a newer processor",
    134: "aborted by a native library",
    137: "SIGKILL: out of memory, or killed after the grace period of a stop",
    139: "segmentation fault in native code",
    143: "SIGTERM was not handled",
}


def list_files(root: Path) -> tuple[list[Path], list[str]]:
    """Return the members for an archive of `root`, in order, and findings about them (OUT-6)."""
    members: list[Path] = []
    findings: list[str] = []
    for folder, directories, names in os.walk(root):
        directories.sort()
        for name in [*directories, *sorted(names)]:
            path = Path(folder) / name
            finding, is_member = _judge(path)
            if finding:
                findings.append(f"{path.relative_to(root)} is {finding} (OUT-6)")
            if is_member:
                members.append(path)
    return members, findings


def _judge(path: Path) -> tuple[str, bool]:
    """Return what is wrong with an archive's member, and whether it is archived at all."""
    status = path.lstat()
    if stat.S_ISLNK(status.st_mode):
        return "a symbolic link: CreateModel refuses such an archive", True
    if stat.S_ISREG(status.st_mode) and status.st_nlink > 1:
        return "a hard link: stored as a file of its own", True
    if stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode):
        return "", True
    return "a socket, FIFO or device: left out", False


def merge(roots: Mapping[str, Path]) -> tuple[dict[str, Path], list[str]]:
    """Merge the directories of all hosts (OUT-5).

    Returns the members by their names below the root, in order, and the findings. If several hosts
    wrote the same name, the first host's file is kept.
    """
    findings: list[str] = []
    merged: dict[str, Path] = {}
    owners: dict[str, str] = {}
    for host, root in roots.items():
        members, faults = list_files(root)
        source = f"{host}: " if len(roots) > 1 else ""
        findings += [source + fault for fault in faults]
        for path in members:
            name = str(path.relative_to(root))
            if name not in owners:
                owners[name] = host
                merged[name] = path
            elif not path.is_dir():
                findings.append(
                    f"{name} was written by {owners[name]} and {host}: only one is kept (OUT-5)"
                )
    return merged, findings


def archive(roots: Mapping[str, Path], target: Path) -> list[str]:
    """Write the directories of all hosts to one `tar.gz` and return the findings (OUT-3).

    Raises: PlatformError if the disk is full.
    """
    members, findings = merge(roots)
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with tarfile.open(target, "w:gz", compresslevel=1) as tar:
            for name, path in members.items():
                tar.inodes = {}  # type: ignore[attr-defined]  # hard links become files
                tar.add(path, arcname=name, recursive=False)
    except OSError as error:
        message = f"{target} cannot be written: {error}"
        raise PlatformError(message) from error
    if not members:
        findings.append(f"{target.name} is empty: the container wrote nothing there (TRIP-24)")
    return findings


def read_failure(layout: contract.Layout) -> str:
    """Return the start of the failure file, as DescribeTrainingJob shows it (OUT-2), or nothing."""
    try:
        with layout.failure.open("rb") as file:
            text = file.read(4 * contract.FAILURE_REASON_CHARACTERS).decode("utf-8", "replace")
    except OSError:
        return ""
    return text[: contract.FAILURE_REASON_CHARACTERS]


def explain_exit(code: int, note: str = "") -> str:
    """Describe a failure without a failure file; `note` is what the runner knows about it."""
    text = f"AlgorithmError: the container ended with exit code: {code}"
    meaning = note or _EXIT_CODE_MEANINGS.get(code)
    return f"{text} ({meaning})" if meaning else text
