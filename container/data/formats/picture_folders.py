"""Folders named after classes: labels of pictures, and what becomes of the other files."""

from __future__ import annotations

import collections
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final

from container.data import set_names
from container.data.formats.picture_files import Encoded
from container.errors import UserError

_NOTES: Final = (
    *("", ".txt", ".md", ".rst", ".json", ".jsonl", ".xml", ".yaml", ".yml", ".toml", ".ini"),
    *(".html", ".pdf", ".csv", ".tsv", ".log", ".py", ".ipynb", ".sh", ".db", ".mat"),
)
"""Suffixes of files that belong to a set, and which nobody takes for pictures."""
_LINES: Final = 10


def label(root: Path, paths: Sequence[Path]) -> list[Encoded]:
    """Label each picture with its first directory below `root`, or below the directory of all.

    Raises: UserError if a picture is not in the directory of a class, or these are not classes.
    """
    level = find_class_level(root, paths)
    names = [_split(root, path) for path in paths]
    strays = [path for path, parts in zip(paths, names, strict=True) if len(parts) < level + 2]
    if strays:
        message = (
            f"{strays[0]} is not in the directory of a class; expected CLASS/NAME.png below {root} "
            f"({len(strays)} of {len(paths)} pictures are elsewhere)"
        )
        raise UserError(message)
    _refuse_sets(root.joinpath(*names[0][:level]), [parts[level:] for parts in names])
    return [
        (str(path), parts[level], path.read_bytes) for path, parts in zip(paths, names, strict=True)
    ]


def find_class_level(root: Path, paths: Sequence[Path]) -> int:
    """Return how many directories are between `root` and those of the classes."""
    names = [_split(root, path) for path in paths]
    level = 0
    depth = min(map(len, names))
    while depth > level + 2 and len({parts[level] for parts in names}) == 1:
        level += 1
    return level


def describe(root: Path, others: Iterable[Path], level: int) -> list[str]:
    """Count files that were passed over, by class and suffix; the most frequent ones first."""
    counts = collections.Counter(_describe(root, path, level) for path in others)
    if not counts:
        return []
    lines = [f"passed over {counts.total():,} files:"]
    lines += [f"  {count:,} {what}" for what, count in counts.most_common(_LINES)]
    if len(counts) > _LINES:
        lines.append(f"  and {len(counts) - _LINES} more kinds")
    return lines


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
        if len(parts) >= level + 2 and not _is_note(path):
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
        return
    # Among others they are classes, unless the classes are one level deeper.
    if len(found) < len(every) and any(len(p) < 3 for p in names if p[0] in found):
        return
    raise UserError(set_names.advise(directory, found, "classes"))


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


def _is_note(path: Path) -> bool:
    return path.suffix.lower() in _NOTES


def _split(root: Path, path: Path) -> tuple[str, ...]:
    return path.parts[len(root.parts) :]
