"""What the platform takes from a container that has ended: archives and the failure file."""

import os
import stat
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from container import contract
from container.errors import PlatformError
from local_test import container_files
from local_test.container_files import Entry, LeftOutError

_EXIT_CODE_MEANINGS: Final = {  # OUT-12
    126: "the entry point cannot be executed: no execute bit, a directory, or no program of this "
    "processor",
    127: "the entry point was not found: not on PATH, or a script with Windows line ends",
    132: "illegal instruction: the program was built for a newer processor",
    134: "aborted by a native library",
    135: (
        "bus error: /dev/shm is full; it may have only 64 MB, which no request can raise; "
        "--shm-size raises it here (IMG-16)"
    ),
    136: "arithmetic error in native code, such as an integer division by zero",
    137: "SIGKILL: out of memory, or killed after the grace period of a stop",
    139: "segmentation fault in native code",
    143: "SIGTERM was not handled",
}


def list_files(root: Path, below: Path | None = None) -> tuple[list[Entry], list[str]]:
    """Return the members for an archive of `root`, in order, and findings about them (OUT-6).

    No container can replace the directory `below`, by default the one that holds `root`.

    Raises: PlatformError if a directory cannot be read.
    """
    members: list[Entry] = []
    findings: list[str] = []
    base = below or root.parent
    for entry in container_files.list_tree(base, root.relative_to(base).as_posix(), findings):
        finding, is_member = _judge(entry)
        if finding:
            findings.append(f"{entry.name} is {finding} (OUT-6)")
        if is_member:
            members.append(entry)
    return members, findings


def _judge(entry: Entry) -> tuple[str, bool]:
    """Return what is wrong with an archive's member, and whether it is archived at all."""
    if entry.target:
        return "a symbolic link: not followed; CreateModel refuses a model archive with it", True
    if entry.is_directory:
        return "", True
    if not entry.is_file:
        return "a socket, FIFO or device: left out", False
    if entry.status.st_nlink > 1:
        return "a hard link: stored as a file of its own", True
    return "", True


def merge(
    roots: Mapping[str, Path], below: Path | None = None
) -> tuple[dict[str, Entry], list[str]]:
    """Merge the directories of all hosts (OUT-5); for `below` see `list_files`.

    Returns the members by their names below the directory, in order, and the findings. If several
    hosts wrote the same name, the first host's file is kept.
    """
    findings: list[str] = []
    merged: dict[str, Entry] = {}
    owners: dict[str, str] = {}
    for host, root in roots.items():
        members, faults = list_files(root, below)
        source = f"{host}: " if len(roots) > 1 else ""
        findings += [source + fault for fault in faults]
        for entry in members:
            name = entry.name
            if name not in owners:
                owners[name] = host
                merged[name] = entry
            elif not entry.is_directory:
                findings.append(
                    f"{name} was written by {owners[name]} and {host}: only one is kept (OUT-5)"
                )
    return merged, findings


def archive(roots: Mapping[str, Path], target: Path, below: Path | None = None) -> list[str]:
    """Write the directories of all hosts to one `tar.gz` and return the findings (OUT-3).

    For `below` see `list_files`.

    Raises: PlatformError if a file cannot be read, or the disk is full.
    """
    members, findings = merge(roots, below)
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with tarfile.open(target, "w:gz", compresslevel=1) as tar:
            for name, entry in members.items():
                _add(tar, name, entry)
    except (OSError, LeftOutError) as error:
        raise PlatformError(f"{target} cannot be written: {error}") from error
    if not members:
        findings.append(f"{target.name} is empty: the container wrote nothing there (TRIP-24)")
    return findings


def _add(tar: tarfile.TarFile, name: str, entry: Entry) -> None:
    """Add a member as what it is; a link is not followed, a hard link becomes a file."""
    member = tarfile.TarInfo(name)
    member.mode = stat.S_IMODE(entry.status.st_mode)
    member.uid = entry.status.st_uid
    member.gid = entry.status.st_gid
    member.mtime = entry.status.st_mtime
    if entry.is_file:
        with entry.open() as file:
            member.size = os.fstat(file.fileno()).st_size
            tar.addfile(member, file)
        return
    member.type = tarfile.DIRTYPE if entry.is_directory else tarfile.SYMTYPE
    member.linkname = entry.target
    tar.addfile(member)


def read_failure(layout: contract.Layout, findings: list[str] | None = None) -> str:
    """Return the start of the failure file, as DescribeTrainingJob shows it (OUT-2), or nothing.

    A file that is a link or a FIFO is a finding, and not read.
    """
    found = [] if findings is None else findings
    limit_bytes = 4 * contract.FAILURE_REASON_CHARACTERS
    name = layout.failure.relative_to(layout.base).as_posix()
    body = container_files.read_start(layout.base, name, limit_bytes, found)
    return body.decode("utf-8", "replace")[: contract.FAILURE_REASON_CHARACTERS]


def read_message(layout: contract.Layout, findings: list[str]) -> bytes:
    """Return the start of a processing container's message file (PR-3); more than its limit."""
    name = layout.message.relative_to(layout.base).as_posix()
    limit_bytes = contract.EXIT_MESSAGE_BYTES + 1
    return container_files.read_start(layout.base, name, limit_bytes, findings)


def explain_exit(code: int, note: str = "") -> str:
    """Describe a failure without a failure file; `note` is what the runner knows about it."""
    text = f"AlgorithmError: the container ended with exit code: {code}"
    meaning = note or _EXIT_CODE_MEANINGS.get(code)
    return f"{text} ({meaning})" if meaning else text
