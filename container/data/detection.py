"""Detecting the format of files: by `data_format`, content type, names, then first bytes."""

import itertools
import os
import re
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn

from container.data.formats import (
    array_files,
    csv_files,
    parquet_files,
    picture_files,
    recordio_files,
    tfrecord_files,
    webdataset_files,
)
from container.data.formats.parts import NOTES, from_path, is_hidden
from container.errors import UserError

_BACKUPS: Final = (".bak", ".old", ".orig", ".tmp", ".part", ".swp", "~")
"""Ends of the names of copies, whose records would count twice."""
_COMPRESSED: Final = {".gz": "", ".tgz": ".tar"}
"""Suffixes of compressed files, and those of the original: `a.tgz` was `a.tar`."""
_NOTE: Final = "note"
HEAD_BYTES: Final = 4096
"""First bytes that `recognize_content` needs."""
_SUFFIXES: Final = {
    ".csv": "csv",
    ".tfrecord": "tfrecord",
    ".tfrecords": "tfrecord",
    ".rec": "recordio",
    ".npz": "npz",
    ".npy": "npy",
    ".parquet": "parquet",
    ".tar": "webdataset",
    ".tgz": "webdataset",
    **dict.fromkeys(picture_files.SUFFIXES, "images"),
}
_COPY: Final = re.compile(
    r"(.+?(?:\.csv|\.tfrecords?|\.rec|\.np[yz]|\.parquet|\.tar|\.tgz)(?:\.gz)?)[-._ (].+",
    re.IGNORECASE,
)
_CONTENT_TYPES: Final = {
    "text/csv": "csv",
    "application/x-image": "images",
    "application/x-tfrecord": "tfrecord",
    "application/x-recordio": "recordio",
    "application/x-npz": "npz",
    "application/x-npy": "npy",
    "application/vnd.apache.parquet": "parquet",
    "application/x-tar": "webdataset",
}
_CONTENTS: Final = {
    "images": picture_files.is_picture,
    "tfrecord": tfrecord_files.is_tfrecord,
    "recordio": recordio_files.is_recordio,
    "idx": array_files.is_idx,
    "npy": lambda head: head.startswith(b"\x93NUMPY"),
    "npz": lambda head: head.startswith(b"PK\x03\x04"),
    "parquet": lambda head: head.startswith(parquet_files.MAGIC),
    "webdataset": webdataset_files.is_tar,
    "csv": csv_files.looks_like_rows,
}
_NOUNS: Final = {
    "images": "picture",
    "tfrecord": "TFRecord",
    "recordio": "RecordIO",
    "webdataset": "tar",
}


@dataclass(frozen=True)
class Choice:
    """The format of a directory, and its files."""

    data_format: str
    paths: list[Path]
    """The files of that format."""
    others: list[Path]
    """The files that are passed over: code and notes, of other formats, or empty."""


def choose_files(directory: Path, data_format: str, content_type: str | None) -> Choice:
    """Choose the format of a directory by the job, by names and by first bytes.

    Raises: UserError if the directory does not exist, or holds no format or several ones.
    """
    every, others = _list_all(directory)
    _refuse_compressed(every)
    by_format = _group(every)
    others += by_format.pop(_NOTE, ())
    wanted = expect_format(data_format, content_type)
    formats = sorted(filter(None, by_format))
    if wanted and wanted in by_format:
        chosen = wanted
    elif data_format != "auto":
        if formats or not by_format:
            raise _no_files(directory, f"{_name(data_format)} files", every, "")
        return Choice(data_format, by_format[""], others)  # the user knows better
    elif not formats:
        hint = (
            "; formats: CSV, CLASS/NAME.png (jpg, webp, gif, tiff, bmp), TFRecord, WebDataset, "
            "Parquet, NPZ, NPY, IDX"
        )
        raise _no_files(directory, "labeled images", every, hint)
    elif len(formats) > 1:
        found = ", ".join(f"{len(by_format[name])} {_name(name)} files" for name in formats)
        raise UserError(
            f"{directory} holds several formats: {found}; set data_format to one of "
            f"{', '.join(formats)}"
        )
    else:
        chosen = formats[0]
    _refuse_copies(chosen, by_format[chosen])
    paths = by_format.pop(chosen)
    return Choice(chosen, paths, others + list(itertools.chain(*by_format.values())))


def _group(paths: Sequence[Path]) -> dict[str, list[Path]]:
    """Group files by their format, which is "" if it is unknown; code and notes are a group."""
    groups: dict[str, list[Path]] = {}
    for path in paths:
        kind = _NOTE if path.suffix.lower() in NOTES else _recognize(path)
        groups.setdefault(kind, []).append(path)
    return groups


def list_files(directory: Path) -> list[Path]:
    """List files that are neither hidden nor empty (IN-11), sorted by the parts of their paths.

    Raises: UserError if the directory does not exist.
    """
    return _list_all(directory)[0]


def _list_all(directory: Path) -> tuple[list[Path], list[Path]]:
    """List the files that are not hidden: those with content, and the empty ones."""
    if not directory.is_dir():
        raise UserError(f"the channel directory {directory} does not exist")
    paths: list[Path] = []
    empty: list[Path] = []
    for name in _walk(directory):
        (paths if _measure(name) else empty).append(Path(name))
    return sorted(paths, key=lambda path: path.parts), empty


def _walk(directory: Path) -> Iterator[str]:
    """Yield the paths of all files that are not hidden; links are followed, a loop once.

    Raises: UserError if a directory cannot be read.
    """

    def refuse(error: OSError) -> NoReturn:
        raise UserError(f"{error.filename} cannot be read: {error.strerror}")

    for root, subdirectories, found in os.walk(directory, onerror=refuse, followlinks=True):
        subdirectories[:] = [
            name
            for name in subdirectories
            if not is_hidden(name) and not _leads_back(f"{root}/{name}")
        ]
        yield from (f"{root}/{name}" for name in found if not is_hidden(name))


def _leads_back(path: str) -> bool:
    """Return whether a directory is a link to one that holds it."""
    if not os.path.islink(path):  # noqa: PTH114 - of perhaps many directories
        return False
    holders = {parent.resolve() for parent in Path(path).parents}
    return Path(path).resolve() in holders.union(*(holder.parents for holder in holders))


def _measure(path: str) -> int:
    """Return the bytes of a file; 0 for what is not a file, such as a FIFO.

    Raises: UserError if it is a broken link.
    """
    try:
        status = os.stat(path)  # noqa: PTH116 - once for each of perhaps a million files
    except OSError as error:
        message = f"{path} cannot be read, perhaps because it is a broken link: {error.strerror}"
        raise UserError(message) from error
    return status.st_size if stat.S_ISREG(status.st_mode) else 0


def expect_format(data_format: str, content_type: str | None) -> str:
    """Return the format that the job names, by `data_format` or else the content type; or ""."""
    if data_format != "auto":
        return data_format
    return _CONTENT_TYPES.get((content_type or "").partition(";")[0].strip(), "")


def recognize_content(head: bytes) -> str:
    """Return the format of a file that begins with `head`; "" if it is unknown."""
    return next((name for name, matches in _CONTENTS.items() if matches(head)), "")


def _recognize(path: Path) -> str:
    """Return the format of a file by its name or else its content; "" if it is unknown."""
    name = path.name.lower().removesuffix(".gz")
    if name.endswith(_BACKUPS):
        return ""
    known = _SUFFIXES.get(os.path.splitext(name)[1])  # noqa: PTH122 - of perhaps a million files
    if known:
        return known
    with from_path(path).reading() as stream:
        return recognize_content(stream.read(HEAD_BYTES))


def _refuse_compressed(paths: Sequence[Path]) -> None:
    """Refuse a file beside its compressed copy: every record would count twice.

    Raises: UserError that names both.
    """
    names = set(paths)
    for path in paths:
        original = path.with_suffix(_COMPRESSED.get(path.suffix.lower(), path.suffix))
        if original != path and original in names:
            _refuse_pair(original, path)


def _refuse_copies(data_format: str, paths: Sequence[Path]) -> None:
    """Refuse a file whose name continues that of another one, such as `train.csv.1`.

    Raises: UserError that names both.
    """
    if data_format == "images":  # of which there may be many, with names from anywhere
        return
    names = set(paths)
    for path in paths:
        match = _COPY.match(path.name)
        if match and path.with_name(match[1]) in names:
            _refuse_pair(path.with_name(match[1]), path)


def _refuse_pair(original: Path, copy: Path) -> NoReturn:
    raise UserError(
        f"{original} and {copy.name} are in one channel, and each record would count twice; remove "
        "one of them (an S3 prefix that ends with a file's name matches both)"
    )


def _no_files(directory: Path, wanted: str, paths: Sequence[Path], hint: str) -> UserError:
    found = "it holds no files, or only empty or hidden ones"
    if paths:
        found = "found " + ", ".join(path.name for path in paths[:3])
    if len(paths) > 3:
        found += f" and {len(paths) - 3} more"
    return UserError(f"{directory} holds no {wanted}: {found}{hint}")


def _name(data_format: str) -> str:
    return _NOUNS.get(data_format, data_format.upper())
