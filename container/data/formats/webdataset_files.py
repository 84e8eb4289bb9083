"""WebDataset: tar archives whose members come in samples, such as `0001.jpg` and `0001.cls`.

A sample's label is the text of its member `cls`, or the value `label`, `cls` or `class` of its
member `json`.
"""

import collections
import functools
import itertools
import json
import tarfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from container.data.formats import picture_files
from container.data.formats.parts import Options, Source, decode_label
from container.errors import UserError

_LABEL_KEYS: Final = ("label", "cls", "class")
_MAGIC_AT: Final = 257
_OTHERS_SHOWN: Final = 5
_TWICE: Final = "another sample of the archive has this name, too"


def is_tar(head: bytes) -> bool:
    """Return whether `head`, 262 bytes or more, begins a tar archive."""
    return head[_MAGIC_AT:].startswith(b"ustar")


def read(sources: Iterable[Source], options: Options) -> Iterator[picture_files.Encoded]:
    """Yield the labeled pictures of archives, in their order.

    Members that make no sample are counted by `options.note`.

    Raises: UserError if an archive cannot be read, or has data after its end.
    """
    for source in sources:
        with source.reading() as stream:
            try:
                with tarfile.open(fileobj=stream, mode="r|") as archive:
                    yield from _label(archive, source.name, options)
                    if _is_cut_off(archive):
                        yield source.name, "", _fail
                    _refuse_more(archive, source.name)
            except tarfile.TarError as error:
                raise UserError(f"{source.name} cannot be read: {error}") from error


def _label(
    archive: tarfile.TarFile, name: str, options: Options
) -> Iterator[picture_files.Encoded]:
    others: list[str] = []
    extras: collections.Counter[str] = collections.Counter()
    seen: set[str] = set()
    for key, members in itertools.groupby(_list_members(archive), key=_find_key):
        contents: dict[str, bytes] = {}
        faults: list[str] = []
        for member in members:
            suffix = member.name[len(key) + 1 :].lower()
            faults += _find_faults(member, suffix, contents)
            contents[suffix] = _read_member(archive, member, name)
        pictures = [content for suffix, content in contents.items() if _is_picture(suffix, content)]
        label, fault = _find_label(contents, options.charset)
        if not pictures and not label and not faults:
            others += [f"{key}.{suffix}".rstrip(".") for suffix in contents]  # such as a README
            continue
        if len(pictures) != 1:
            faults.append(f"it has {len(pictures)} pictures, expected one")
        faults.append(fault or _TWICE * (key in seen))
        seen.add(key)
        extras.update(_list_extras(contents))
        content = pictures[0] if pictures else b""
        load = functools.partial(picture_files.load_bytes, content, faults[0])
        yield f"{name}, sample {key}", label, load
    _note_members(name, others, extras, options)


def _note_members(
    name: str, others: Sequence[str], extras: collections.Counter[str], options: Options
) -> None:
    """Report the members that are in no sample, and those of samples that have no use."""
    if others:
        listed = ", ".join(others[:_OTHERS_SHOWN])
        options.note(
            f"passed over {len(others)} members of {name} without picture and label: {listed}"
        )
    if extras:
        kinds = extras.most_common(_OTHERS_SHOWN)
        listed = ", ".join(f"{count} {suffix}" for suffix, count in kinds)
        options.note(f"passed over {extras.total()} more members of samples in {name}: {listed}")


def _list_extras(contents: Mapping[str, bytes]) -> list[str]:
    """List the suffixes of a sample's members that are neither its picture nor its label."""
    label = "cls" if "cls" in contents else "json"
    return [
        suffix
        for suffix, content in contents.items()
        if suffix != label and not _is_picture(suffix, content)
    ]


def _find_faults(
    member: tarfile.TarInfo, suffix: str, others: Mapping[str, bytes]
) -> Iterator[str]:
    """Say what is wrong with a member of a sample, beside the others."""
    if suffix in others:
        yield f"it has two members {suffix}"
    if not member.isfile():
        yield f"its member {suffix} is not a regular file"


def _refuse_more(archive: tarfile.TarFile, name: str) -> None:
    """Refuse what follows the end of an archive, as of two that were joined by `cat`.

    Raises: UserError.
    """
    stream: Any = archive.fileobj
    while block := stream.read(tarfile.RECORDSIZE):
        if block.strip(b"\0"):
            raise UserError(
                f"{name} has data after the end of its archive, perhaps because two were joined; "
                "join them with tar --concatenate, or keep them apart"
            )


def _fail() -> bytes:
    raise OSError("it ends without its end mark, perhaps because it was cut off")


def _is_cut_off(archive: tarfile.TarFile) -> bool:
    """Return whether no block of zeros followed the last member."""
    stream: Any = archive.fileobj
    return bool(stream.tell() == archive.offset)


def _read_member(archive: tarfile.TarFile, member: tarfile.TarInfo, name: str) -> bytes:
    if not member.isfile():
        return b""
    stream = archive.extractfile(member)
    content = stream.read() if stream else b""
    if len(content) < member.size:
        raise UserError(f"{name} ends within {member.name}")
    return content


def _is_picture(suffix: str, content: bytes) -> bool:
    """Return whether a member is a picture, by its content or else, if damaged, its name."""
    return picture_files.is_picture(content[:12]) or f".{suffix}".endswith(picture_files.SUFFIXES)


def _list_members(archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    for member in archive:
        is_hidden = member.name.rpartition("/")[2].startswith(".")
        if not member.isdir() and not is_hidden:
            yield member


def _find_key(member: tarfile.TarInfo) -> str:
    """Return the name up to the first dot after the directories."""
    directory, slash, name = member.name.rpartition("/")
    return directory + slash + name.partition(".")[0]


def _unite(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object of JSON. Raises: ValueError if a name comes twice."""
    document = dict(pairs)
    if len(document) < len(pairs):
        raise ValueError("a name comes twice")
    return document


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
        document = json.loads(contents["json"], object_pairs_hook=_unite)
        value = next(document[key] for key in _LABEL_KEYS if key in document)
    except (ValueError, TypeError, StopIteration, RecursionError) as error:
        reason = f"its member json has none of the keys {', '.join(_LABEL_KEYS)}"
        return "", f"{reason}: {error}" if str(error) else reason
    if not isinstance(value, (str, int, float)) or isinstance(value, bool):
        return "", f"its label {json.dumps(value)[:40]} is neither text nor a number"
    return str(value), ""
