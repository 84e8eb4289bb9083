"""Folders named after classes: labels of pictures, and what becomes of the other files."""

import collections
import functools
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final

from container.data import set_names
from container.data.formats.parts import NOTES, UTF_8, decode_label, is_hidden
from container.data.formats.picture_files import Encoded
from container.errors import UserError

_NOTES: Final = (*NOTES, "", ".txt", ".csv", ".tsv", ".log", ".db", ".mat")
"""Suffixes of files that belong to a set, and which nobody takes for pictures."""
_LINES: Final = 10
_NAMES_SHOWN: Final = 5


def label(root: Path, paths: Sequence[Path], charset: str = UTF_8) -> list[Encoded]:
    """Label each picture with its first directory below `root`, or below the directory of all.

    Raises: UserError if a picture is not in the directory of a class, these are not classes, or
    the name of one is not text in `charset`.
    """
    level = find_class_level(root, paths)
    names = [_split(root, path) for path in paths]
    strays = [path for path, parts in zip(paths, names, strict=True) if len(parts) < level + 2]
    if strays:
        raise UserError(
            f"{strays[0]} is not in the directory of a class; expected CLASS/NAME.png below {root} "
            f"({len(strays)} of {len(paths)} pictures are elsewhere)"
        )
    _refuse_sets(root.joinpath(*names[0][:level]), [parts[level:] for parts in names])
    read = functools.cache(functools.partial(read_name, charset=charset))
    return [
        (str(path), read(parts[level]), path.read_bytes)
        for path, parts in zip(paths, names, strict=True)
    ]


def read_name(name: str, charset: str) -> str:
    """Return the name of a directory, of which Python keeps bytes that are not UTF-8 as they are.

    Raises: UserError if they are not text in `charset`.
    """
    content = os.fsencode(name)
    try:
        return content.decode(UTF_8)
    except UnicodeDecodeError:
        pass
    try:
        return decode_label(content, charset)
    except ValueError as error:
        raise UserError(f"a directory cannot be the name of a class: {error}") from error


def find_class_level(root: Path, paths: Sequence[Path]) -> int:
    """Return how many directories are between `root` and those of the classes."""
    names = [_split(root, path) for path in paths]
    level = 0
    depth = min(map(len, names))
    while depth > level + 2 and len({parts[level] for parts in names}) == 1:
        level += 1
    return level


def describe(root: Path, others: Iterable[Path], level: int) -> list[str]:
    """Count files that were passed over, by class and suffix, and name the only one of a kind."""
    kinds: dict[str, list[Path]] = {}
    for path in others:
        kinds.setdefault(_describe(root, path, level), []).append(path)
    if not kinds:
        return []
    total = sum(map(len, kinds.values()))
    lines = [f"passed over {total:,} file{'s' * (total != 1)}:"]
    for what, paths in sorted(kinds.items(), key=lambda kind: -len(kind[1]))[:_LINES]:
        name = "/".join(_split(root, paths[0])) + " (empty)" * what.startswith("empty ")
        lines.append(f"  {name}" if len(paths) == 1 else f"  {len(paths):,} {what}")
    if len(kinds) > _LINES:
        lines.append(f"  and {len(kinds) - _LINES} more kinds")
    return lines


def find_doubts(root: Path, paths: Sequence[Path], clean: Callable[[str], str]) -> list[str]:
    """Say what makes the classes doubtful: they seem to be elsewhere, some are empty, or united.

    `clean` makes the name of a class from that of its directory.
    """
    level = find_class_level(root, paths)
    classes: dict[str, set[str]] = {}
    for path in paths:
        parts = _split(root, path)
        below = parts[level + 1] if len(parts) > level + 2 else ""
        classes.setdefault(parts[level], set()).add(below)
    doubts = []
    shared = set.intersection(*classes.values())
    if len(classes) > 1 and len(shared) > 1 and "" not in set.union(*classes.values()):
        doubts.append(
            f"warning: each of the classes {_list_some(classes)} has the directories "
            f"{_list_some(shared)}; if these are the classes, move them up, into one directory per "
            "class"
        )
    directory = root.joinpath(*_split(root, paths[0])[:level])
    empty = [
        entry.name
        for entry in directory.iterdir()
        if entry.name not in classes and _is_empty_directory(entry)
    ]
    if empty:
        doubts.append(
            f"warning: the directories {_list_some(empty)} are empty and do not count as classes"
        )
    return doubts + _find_united(classes, clean)


def _find_united(names: Iterable[str], clean: Callable[[str], str]) -> list[str]:
    """Say which directories become one class, such as `cat` and `cat `."""
    by_class: dict[str, list[str]] = {}
    for name in sorted(names):
        by_class.setdefault(clean(name), []).append(name)
    return [
        f"warning: the directories {', '.join(map(repr, same))} are the one class {name!r}, since "
        "spaces around a name and ways to write its accents do not count"
        for name, same in by_class.items()
        if len(same) > 1
    ]


def _list_some(names: Iterable[str]) -> str:
    shown = sorted(names)
    more = f" and {len(shown) - _NAMES_SHOWN} more" if len(shown) > _NAMES_SHOWN else ""
    return ", ".join(shown[:_NAMES_SHOWN]) + more


def _is_empty_directory(path: Path) -> bool:
    """Return whether a directory that is not hidden holds no visible files, at any depth."""
    if is_hidden(path.name) or not path.is_dir():
        return False
    return all(is_hidden(name) for _, _, files in os.walk(path) for name in files)


def check_classes(
    root: Path, paths: Sequence[Path], others: Iterable[Path], has_images: Callable[[str], bool]
) -> None:
    """Check that each class kept pictures, of the `paths` that were read and of the `others`.

    Raises: UserError that names classes whose every picture was passed over or cannot be read.
    """
    level = find_class_level(root, paths)
    found = collections.Counter(_split(root, path)[level] for path in paths)
    passed: dict[str, collections.Counter[str]] = {}
    for path in others:
        parts = _split(root, path)
        if len(parts) >= level + 2 and path.suffix.lower() not in _NOTES:
            passed.setdefault(parts[level], collections.Counter())[_name_kind(path)] += 1
    faults = []
    for name in sorted({*found, *passed}):
        if not has_images(name):
            kinds = passed.get(name, collections.Counter())
            reasons = [f"{count:,} {kind}" for kind, count in kinds.most_common(_LINES)]
            if found[name]:
                reasons.append(f"{found[name]:,} pictures that cannot be read")
            faults.append(f"{name}: {', '.join(reasons)}")
    if faults:
        summary = (
            "classes would lose all their pictures; convert them to PNG, JPEG, WebP, GIF, TIFF or "
            f"BMP, or remove their directories from {root}"
        )
        raise UserError.from_faults(summary, faults)


def _refuse_sets(directory: Path, names: Sequence[tuple[str, ...]]) -> None:
    """Refuse directories that are sets and not classes, by the names of pictures below them.

    Raises: UserError with the channels that were meant.
    """
    every = {parts[0] for parts in names}
    found = set_names.list_sets(every)
    if len(found) < 2:
        _refuse_mixtures(directory, names, found)
        return
    # Among others they are classes, unless the classes are one level deeper.
    if len(found) < len(every) and any(len(p) < 3 for p in names if p[0] in found):
        return
    raise UserError(set_names.advise(directory, found, "classes"))


def _refuse_mixtures(
    directory: Path, names: Sequence[tuple[str, ...]], found: Sequence[str]
) -> None:
    """Refuse classes within the only set `found`, and sets within classes, as in cat/train.

    Raises: UserError.
    """
    every = {parts[0] for parts in names}
    if every & {parts[1] for parts in names if parts[0] in found}:
        raise UserError(
            f"{found[0]} in {directory} holds the directories of classes, as {directory} does "
            "itself; make it a channel of its own, or move its pictures to those classes"
        )
    below = {parts[1] for parts in names if len(parts) > 2}
    if len(below) > 1 and set_names.list_sets(below) == sorted(below):
        raise UserError(
            f"{_list_some(below)} below the classes in {directory} are sets of images; move them "
            "up, as train/CLASS and test/CLASS, and make each one a channel of its own"
        )


def _describe(root: Path, path: Path, level: int) -> str:
    parts = _split(root, path)
    kind = _name_kind(path)
    return f"{kind} in {parts[level]}" if len(parts) >= level + 2 else kind


def _name_kind(path: Path) -> str:
    kind = path.suffix.lower() or path.name
    try:
        is_empty = not path.stat().st_size
    except OSError:
        return kind
    return f"empty {kind}" if is_empty else kind


def _split(root: Path, path: Path) -> tuple[str, ...]:
    return path.parts[len(root.parts) :]
