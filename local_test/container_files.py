"""Files that a container wrote, read without harm.

A container in Docker cannot see this machine's files, but the harness can. So the harness follows
no link that a container may have left, in any part of a path; it opens nothing but regular files,
and no FIFO can make it wait. Paths are walked by open directories, so nothing that still runs can
put a link in the way, and no path is too long.

Everywhere here, `base` is a directory that the harness made and no container can replace, and a
name is relative to it, with slashes.
"""

import contextlib
import errno
import os
import stat
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from container.errors import PlatformError

_DEPTH: Final = 100  # directories in one another; each file is opened by walking all of them
_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK  # opening a FIFO must not wait


class LeftOutError(Exception):
    """A file is not read; the message says what it is."""


@dataclass(frozen=True)
class Entry:
    """Something in a directory tree, as it was when it was listed."""

    base: Path
    place: str
    """The tree, below `base`."""
    name: str
    """The path below the tree."""
    status: os.stat_result
    target: str = ""
    """Where a symbolic link leads."""

    @property
    def is_directory(self) -> bool:
        """Whether it is a directory."""
        return stat.S_ISDIR(self.status.st_mode)

    @property
    def is_file(self) -> bool:
        """Whether it is a regular file."""
        return stat.S_ISREG(self.status.st_mode)

    def open(self) -> BinaryIO:
        """Open the file.

        Raises: LeftOutError if it is not a regular file any more, OSError if it cannot be read.
        """
        return open_file(self.base, f"{self.place}/{self.name}")


def describe(mode: int) -> str:
    """Return what a file of this `st_mode` is."""
    kinds = {stat.S_IFLNK: "a symbolic link", stat.S_IFDIR: "a directory", stat.S_IFREG: "a file"}
    return kinds.get(stat.S_IFMT(mode), "a socket, FIFO or device")


@contextlib.contextmanager
def open_directory(base: Path, name: str) -> Iterator[int]:
    """Yield the descriptor of a directory.

    Raises: FileNotFoundError if it does not exist, LeftOutError if a part of `name` is a link or a
    file.
    """
    held = os.open(base, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for part in _split(name):
            inner = _open(part, _DIRECTORY, held, name)
            os.close(held)
            held = inner
        yield held
    finally:
        os.close(held)


def open_file(base: Path, name: str) -> BinaryIO:
    """Open a regular file to read it.

    Raises: FileNotFoundError if it does not exist, LeftOutError if it is not a regular file or a
    part of `name` is a link.
    """
    *parents, last = _split(name)
    with open_directory(base, "/".join(parents)) as directory:
        held = _open(last, _FILE, directory, name)
    mode = os.fstat(held).st_mode
    if not stat.S_ISREG(mode):
        os.close(held)
        raise LeftOutError(f"{name} is {describe(mode)}: not read")
    return os.fdopen(held, "rb")


def read_start(base: Path, name: str, limit_bytes: int, findings: list[str]) -> bytes:
    """Return the first bytes of a file; nothing, and a finding, if it is not a regular file."""
    try:
        with open_file(base, name) as file:
            return file.read(limit_bytes)
    except FileNotFoundError:
        return b""
    except LeftOutError as error:
        findings.append(str(error))
    except OSError as error:
        findings.append(f"{name} cannot be read: {error.strerror}")
    return b""


def write_new(base: Path, name: str, content: bytes) -> bool:
    """Write a file where there is none, and its directories; return whether it was written."""
    done = ""
    try:
        *parents, last = _split(name)
        for part in parents:
            with open_directory(base, done) as directory, contextlib.suppress(FileExistsError):
                os.mkdir(part, dir_fd=directory)
            done = f"{done}/{part}"
        with open_directory(base, done) as directory:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
            held = os.open(last, flags, 0o600, dir_fd=directory)
    except (LeftOutError, FileExistsError):
        return False
    with os.fdopen(held, "wb") as file:
        file.write(content)
    return True


def list_tree(base: Path, place: str, findings: list[str]) -> list[Entry]:
    """Return everything below `place` in order, directories before what is in them.

    A tree that does not exist is empty. What lies too deep is left out, with a finding; so is the
    tree if a part of `place` is a link or a file.

    Raises: PlatformError if a directory cannot be read.
    """
    entries: list[Entry] = []
    pending = [""]
    while pending:
        folder = pending.pop()
        try:
            found = _list_directory(base, place, folder)
        except FileNotFoundError:  # the tree, or a directory that was removed meanwhile
            continue
        except LeftOutError as error:
            findings.append(str(error))
            continue
        except OSError as error:
            message = f"cannot read the directory {place}/{folder}: {error.strerror}"
            raise PlatformError(message) from error
        entries += found
        inner = [entry.name for entry in found if entry.is_directory]
        if inner and len(_split(folder)) >= _DEPTH:
            findings.append(
                f"{place}/{folder[:40]}... has more than {_DEPTH} directories in one another: what "
                "lies deeper is left out"
            )
            continue
        pending += reversed(inner)
    return entries


def _list_directory(base: Path, place: str, folder: str) -> list[Entry]:
    prefix = f"{folder}/" if folder else ""
    with open_directory(base, f"{place}/{folder}".rstrip("/")) as directory:
        found = []
        for name in sorted(os.listdir(directory)):  # noqa: PTH208 - pathlib takes no descriptor
            with contextlib.suppress(FileNotFoundError):
                status = os.stat(name, dir_fd=directory, follow_symlinks=False)
                target = ""
                if stat.S_ISLNK(status.st_mode):
                    target = os.readlink(name, dir_fd=directory)
                found.append(Entry(base, place, prefix + name, status, target))
    return sorted(found, key=lambda entry: not entry.is_directory)


def _split(name: str) -> list[str]:
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise LeftOutError(f"{name} leads out of its directory: not read")
    return parts


def _open(part: str, flags: int, directory: int, name: str) -> int:
    """Open one part of a path: a directory if `flags` ask for one, else a regular file.

    Raises: LeftOutError if it is something else.
    """
    mode = os.stat(part, dir_fd=directory, follow_symlinks=False).st_mode
    is_wanted = stat.S_ISREG(mode)
    if flags & os.O_DIRECTORY:
        is_wanted = stat.S_ISDIR(mode)
    if not is_wanted:  # not even opened: a device may act on that
        raise LeftOutError(f"{_locate(part, name)} is {describe(mode)}: not read")
    try:
        return os.open(part, flags, dir_fd=directory)
    except OSError as error:
        if error.errno not in (errno.ELOOP, errno.ENOTDIR, errno.ENXIO):
            raise
        message = f"{_locate(part, name)} was replaced while it was read: not read"
        raise LeftOutError(message) from error


def _locate(part: str, name: str) -> str:
    if name.rpartition("/")[2] == part:
        return name
    return f"{part} in {name}"


def remove_tree(path: Path) -> None:
    """Remove a directory in which a container has written, however deep it is; links stay closed.

    What cannot be removed, such as files of another user, stays.
    """
    command = ["rm", "-rf", "--", str(path.absolute())]
    subprocess.run(command, check=False, capture_output=True)  # noqa: S603 - from PATH
