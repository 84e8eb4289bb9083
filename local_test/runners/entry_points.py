"""Says why a program cannot be started: missing, not executable, its interpreter, its processor."""

import codecs
import contextlib
import io
import os
import platform
import posixpath
import re
import shutil
import stat
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from container.errors import UserError

_HEAD_BYTES: Final = 4096
_MACHINES: Final = {0x03: "i386", 0x28: "arm", 0x3E: "x86_64", 0xB7: "aarch64", 0xF3: "riscv64"}
"""The field e_machine of ELF files."""
_LARGEST_LINK_CHAIN: Final = 8
_EXEC_FAILURE: Final = re.compile(
    rb"^exec .*(no such file or directory|exec format error|permission denied)", re.MULTILINE
)
"""What runc prints in a container's log when the program cannot be executed."""


def explain_file(name: str, head: bytes, mode: int) -> str:
    """Return why the system does not execute a file, from its first bytes and its mode."""
    if stat.S_ISDIR(mode):
        return f"the entry point {name} is a directory"
    if not mode & 0o111:
        return f"the entry point {name} is not executable; run chmod +x on it (TRIP-3)"
    if head.startswith(b"#!"):
        line = head[2:].partition(b"\n")[0]
        interpreter = line.strip().decode("utf-8", "replace")
        if line.endswith(b"\r"):
            return (
                f"the entry point {name} has Windows line ends, so that its interpreter is looked "
                f"for as {interpreter + chr(13)!r}; save it with LF line ends (TRIP-2)"
            )
        return f"the interpreter of the entry point {name} is missing: {interpreter}"
    if head.startswith(b"\x7fELF"):
        return _explain_binary(name, head)
    reason = "its first line lacks #!"
    if head.startswith(codecs.BOM_UTF8):
        reason = "it begins with a byte order mark, so its #! line is not read"
    return f"the entry point {name} is neither a program nor a script: {reason}"


def _explain_binary(name: str, head: bytes) -> str:
    built_for = _MACHINES.get(int.from_bytes(head[18:20], "little"), "another processor")
    here = platform.machine()
    if built_for != here:
        return f"the entry point {name} is for {built_for}, and this machine is {here} (TRIP-4)"
    return f"the entry point {name} is damaged, or the loader that it is linked to is missing"


def check_program(command: Sequence[str], path: str, directory: Path) -> None:
    """Check that the first word of a command is a program that this machine can execute.

    Whether this processor can run it is left to the system, which may know other kinds of programs.

    Raises: UserError that says why it cannot.
    """
    if not command:
        raise UserError("no command was given: an image without an entry point needs an argument")
    name = command[0]
    file = Path(shutil.which(name, path=path) or directory / name)
    try:
        mode = file.stat().st_mode
        head = b""
        if stat.S_ISREG(mode):
            with file.open("rb") as stream:
                head = stream.read(_HEAD_BYTES)
    except FileNotFoundError as error:
        raise UserError(f"{name!r} is not an executable on PATH: {path}") from error
    except PermissionError:  # a program that may be executed but not read
        return
    if not (stat.S_ISREG(mode) and mode & 0o111) or not _may_start(head):
        raise UserError(explain_file(str(file), head, mode))


def _may_start(head: bytes) -> bool:
    """Return whether it is a binary, or a script whose interpreter exists and has no CR."""
    if not head.startswith(b"#!"):
        # Text cannot be started; the system may know other binary formats than its own.
        return head.startswith(b"\x7fELF") or b"\0" in head
    line = head[2:].partition(b"\n")[0]
    words = line.split()
    return bool(words) and not line.endswith(b"\r") and Path(os.fsdecode(words[0])).exists()


def explain_container(container: Any, said: str | None = None) -> str:
    """Return why a container's program could not be executed, or an empty string.

    `said` is the engine's error where the container did not start. For one that has ended its log
    shows whether the program was executed at all.
    """
    from local_test.runners.engine import UNREACHABLE  # noqa: PLC0415 - takes 0.2 s to import

    with contextlib.suppress(*UNREACHABLE):
        if said is None and not _EXEC_FAILURE.search(container.logs(tail=1)):
            return ""
        container.reload()
        return _explain_path(container)
    return ""


def _explain_path(container: Any) -> str:
    name = container.attrs["Path"]
    variables = dict(item.partition("=")[::2] for item in container.attrs["Config"]["Env"] or ())
    places = [""]
    where = ""
    if "/" not in name:
        where = f" on its PATH, {variables.get('PATH')}"
        places = variables.get("PATH", "/usr/bin:/bin").split(":")
    directory = container.attrs["Config"].get("WorkingDir") or "/"
    for place in places:
        found = _read_head(container, posixpath.join(directory, place, name))
        if found:
            return explain_file(name, *found)
    return f"the entry point {name} does not exist in the image{where} (TRIP-1)"


def _read_head(container: Any, path: str) -> tuple[bytes, int] | None:
    """Return a file's first bytes and mode, or None if it does not exist."""
    from docker import errors  # noqa: PLC0415 - takes 0.2 s to import

    for _ in range(_LARGEST_LINK_CHAIN):
        try:
            pieces, _ = container.get_archive(path)
        except errors.NotFound:
            return None
        with contextlib.closing(pieces):
            start = b"".join(piece for piece, _ in zip(pieces, range(4), strict=False))
        member, head = _read_member(start)
        if not member.issym():
            return head, member.mode | member.isdir() * stat.S_IFDIR
        path = posixpath.normpath(posixpath.join(posixpath.dirname(path), member.linkname))
    return None


def _read_member(start: bytes) -> tuple[tarfile.TarInfo, bytes]:
    with tarfile.open(fileobj=io.BytesIO(start), mode="r|") as tar:
        member = tar.next()
        if member is None or not member.isreg():
            return member or tarfile.TarInfo(), b""
        file = tar.extractfile(member) or io.BytesIO()
        return member, file.read(_HEAD_BYTES)
