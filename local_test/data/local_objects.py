"""Files on this disk as objects: what the prefix of a `file://` URI lists."""

import errno
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from container.errors import UserError, describe_absence, find_file_in_the_way

_KEY_BYTES: Final = 1024  # the longest key of S3
_INPUTS: Final = ("InputDataConfig", "ProcessingInputs", "TransformInput", "PrimaryContainer")


def name_below(prefix: str, key: str) -> str:
    """Return the path of an object below the prefix that listed it."""
    if key == prefix:
        return key.rsplit("/", 1)[1]
    if key.startswith(prefix.rstrip("/") + "/"):
        return key[len(prefix.rstrip("/")) + 1 :]
    return key[prefix.rfind("/") + 1 :]


def list_files(prefix: str) -> Iterator[tuple[str, int]]:
    """Yield the URI and the size of every file whose path starts with a URI's; links are followed.

    A URI that is the path of a file is that file only: nobody who names `train.csv` on their disk
    means `train.csv.gz` too, as a prefix in S3 does.

    Raises: UserError if something cannot be read, or cannot be an object.
    """
    start = prefix.removeprefix("file://")
    directory, _, stem = start.rpartition("/")
    if not Path(directory or "/").exists():
        raise UserError(describe_absence(start))
    try:
        entries = sorted(os.scandir(directory or "/"), key=lambda entry: entry.name)
    except OSError as error:
        raise UserError(f"cannot list {prefix}: {error}") from error
    try:
        resolved = Path(directory or "/").resolve()
        holders = frozenset(_identify(path.stat()) for path in (resolved, *resolved.parents))
        for entry in _match(entries, stem):
            yield from _list_entry(entry, holders, prefix)
    except OSError as error:
        raise UserError(f"cannot list {prefix}: {error}") from error


def check_places(fields: Mapping[str, Any]) -> None:
    """Refuse a missing input, and an output below a file. Raises: UserError, OSError."""
    for place in _list_places([fields.get(member) for member in _INPUTS]):
        check_presence(place)
    for place in _list_places([fields[member] for member in fields if member not in _INPUTS]):
        path = Path(place.removeprefix("file://"))
        if path.is_absolute() and find_file_in_the_way(path):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path))


def _list_places(node: Any) -> Iterator[str]:
    """Yield each URI below a node."""
    if isinstance(node, Mapping):
        yield from [node[name] for name in ("S3Uri", "S3OutputPath") if name in node]
        node = list(node.values())
    if isinstance(node, list):
        for item in node:
            yield from _list_places(item)


def check_presence(place: str) -> None:
    """Refuse a path or `file://` URI that neither exists nor begins the path of a file.

    Other URIs pass. Raises: UserError.
    """
    start = place.removeprefix("file://")
    if "://" in start:
        return
    path = Path(start).expanduser()
    if not path.exists() and next(list_files(str(path.absolute())), None) is None:
        raise UserError(describe_absence(path))


def _match(entries: Sequence[os.DirEntry[str]], stem: str) -> Sequence[os.DirEntry[str]]:
    """Return the file of a name, or else all entries whose names start so."""
    matching = [entry for entry in entries if entry.name.startswith(stem)]
    return [entry for entry in matching if entry.name == stem and not entry.is_dir()] or matching


def _list_entry(
    top: os.DirEntry[str], holders: frozenset[tuple[int, int]], prefix: str
) -> Iterator[tuple[str, int]]:
    """Yield the files of a directory entry; links are followed, as they are the user's own.

    `holders` identifies the directories that hold it.

    Raises: UserError if a link leads back to a directory that holds it or nowhere, or a name
    is too long for S3; OSError if something cannot be read.
    """
    pending = [(top, holders)]
    while pending:
        entry, holders = pending.pop()
        status = _follow(entry)
        if not stat.S_ISDIR(status.st_mode):
            _check_object(entry.path, status, prefix)
            yield f"file://{entry.path}", status.st_size
            continue
        identity = _identify(status)
        if identity in holders:
            message = f"{entry.path} is a link back to a directory that holds it; remove the link"
            raise UserError(message)
        with os.scandir(entry.path) as inner:
            pending += [(item, holders | {identity}) for item in inner]


def _follow(entry: os.DirEntry[str]) -> os.stat_result:
    """Return the status of an entry, or of what it links to.

    Raises: UserError if it is a link to nothing or to itself; OSError if it cannot be read.
    """
    try:
        return entry.stat()
    except OSError as error:
        if not entry.is_symlink():
            raise
        raise UserError(
            f"{entry.path} is a link that leads nowhere, to {Path(entry.path).readlink()}: "
            f"{error.strerror}; remove the link, or restore what it names"
        ) from error


def _identify(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _check_object(path: str, status: os.stat_result, prefix: str) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise UserError(f"{path} is a FIFO, socket or device; an object has to be a file")
    name = os.fsencode(name_below(prefix, f"file://{path}"))
    if len(name) > _KEY_BYTES:
        raise UserError(
            f"{path[:200]}... has a name of {len(name)} bytes below {prefix}; an object of S3 has "
            f"at most {_KEY_BYTES}"
        )
