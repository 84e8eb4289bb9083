"""WebDataset: tar archives whose members come in samples, such as `0001.jpg` and `0001.cls`.

A sample's label is the text of its member `cls`, or the value `label`, `cls` or `class` of its
member `json`.
"""

from __future__ import annotations

import functools
import itertools
import json
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from container.data.formats import picture_files
from container.data.formats.parts import UTF_8, Source, decode_label
from container.errors import UserError

_LABEL_KEYS: Final = ("label", "cls", "class")
_MAGIC_AT: Final = 257


def is_tar(head: bytes) -> bool:
    """Return whether `head`, 262 bytes or more, begins a tar archive."""
    return head[_MAGIC_AT:].startswith(b"ustar")


def read(sources: Iterable[Source], charset: str = UTF_8) -> Iterator[picture_files.Encoded]:
    """Yield the labeled pictures of archives, in their order.

    Raises: UserError if an archive cannot be read.
    """
    for source in sources:
        with source.reading() as stream:
            try:
                with tarfile.open(fileobj=stream, mode="r|") as archive:
                    yield from _label(archive, source.name, charset)
            except tarfile.TarError as error:
                message = f"{source.name} cannot be read: {error}"
                raise UserError(message) from error


def _label(archive: tarfile.TarFile, name: str, charset: str) -> Iterator[picture_files.Encoded]:
    for key, members in itertools.groupby(_list_files(archive), key=_find_key):
        contents = {
            member.name[len(key) + 1 :].lower(): _read_member(archive, member, name)
            for member in members
        }
        pictures = [content for suffix, content in contents.items() if _is_picture(suffix, content)]
        label, fault = _find_label(contents, charset)
        if not pictures and not label:
            continue  # a note, such as the archive's own description
        if len(pictures) != 1:
            fault = f"it has {len(pictures)} pictures, expected one"
        content = pictures[0] if pictures else b""
        load = functools.partial(picture_files.load_bytes, content, fault)
        yield f"{name}, sample {key}", label, load


def _read_member(archive: tarfile.TarFile, member: tarfile.TarInfo, name: str) -> bytes:
    stream = archive.extractfile(member)
    content = stream.read() if stream else b""
    if len(content) < member.size:
        message = f"{name} ends within {member.name}"
        raise UserError(message)
    return content


def _is_picture(suffix: str, content: bytes) -> bool:
    """Return whether a member is a picture, by its content or else, if damaged, its name."""
    return picture_files.is_picture(content[:12]) or f".{suffix}".endswith(picture_files.SUFFIXES)


def _list_files(archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    for member in archive:
        is_hidden = member.name.rpartition("/")[2].startswith(".")
        if member.isfile() and not is_hidden:
            yield member


def _find_key(member: tarfile.TarInfo) -> str:
    """Return the name up to the first dot behind the directories."""
    directory, slash, name = member.name.rpartition("/")
    return directory + slash + name.partition(".")[0]


def _find_label(contents: Mapping[str, bytes], charset: str) -> tuple[str, str]:
    """Return the label of a sample, or "" and why it has none."""
    if "cls" in contents:
        try:
            text = decode_label(contents["cls"], charset).strip()
        except ValueError as error:
            return "", str(error)
        return text, "" if text else "its member cls is empty"
    if "json" not in contents:
        return "", f"it has no member cls or json, only {', '.join(contents)}"
    try:
        document = json.loads(contents["json"])
        value = next(document[key] for key in _LABEL_KEYS if key in document)
    except (ValueError, TypeError, StopIteration):
        return "", f"its member json has none of the keys {', '.join(_LABEL_KEYS)}"
    if not isinstance(value, (str, int, float)) or isinstance(value, bool):
        return "", f"its label {json.dumps(value)[:40]} is neither text nor a number"
    return str(value), ""
