"""Names such as `train`, `seg_test` and `t10k-images`: directories and files that are sets.

One channel is one set: a directory with several would be trained on all of them, tests included.
"""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from container.errors import UserError, name_command

_ROLES: Final = {
    **dict.fromkeys(("train", "training", "trn"), "training"),
    **dict.fromkeys(("test", "testing", "tst", "t10k", "holdout"), "test"),
    **dict.fromkeys(
        ("val", "valid", "validate", "validation", "eval", "evaluation", "dev"), "validation"
    ),
}
_WORDS: Final = re.compile(r"[-_ .]+|(?<=[a-z])(?=[0-9A-Z])")
_FILLERS: Final = frozenset({"set", "data", "dataset", "images", "imgs", "image", "split"})
_SET: Final = re.compile(rf"({'|'.join(_ROLES)})[-_ .]?(sets?|data|dataset|images|imgs|\d+)?")


def find_role(name: str) -> tuple[str, str]:
    """Return the channel for a set of this name, and the rest of the name; "" if it is none.

    >>> find_role("seg_train"), find_role("t10k-images"), find_role("cat")
    (('training', 'seg'), ('test', ''), ('', 'cat'))
    """
    match = _SET.fullmatch(name.lower())
    if match:
        return _ROLES[match[1]], ""
    words = [word.lower() for word in _WORDS.split(name)]
    roles = {_ROLES[word] for word in words if word in _ROLES}
    rest = [word for word in words if not (word in _ROLES or word in _FILLERS or word.isdecimal())]
    return (roles.pop() if len(roles) == 1 else ""), "-".join(rest)


def list_sets(names: Iterable[str]) -> list[str]:
    """List the names that are sets: those without a rest, or with roles that differ only."""
    found = {name: find_role(name) for name in names}
    roles: dict[str, set[str]] = {}
    for role, rest in filter(lambda item: item[0], found.values()):
        roles.setdefault(rest, set()).add(role)
    return sorted(
        name for name, (role, rest) in found.items() if role and (not rest or len(roles[rest]) > 1)
    )


def refuse_files(directory: Path, paths: Iterable[Path]) -> None:
    """Refuse files of several sets in one channel, such as `train.csv` beside `test.csv`.

    Raises: UserError with the channels that were meant.
    """
    tops: dict[str, Path] = {}
    for path in paths:
        for part in path.relative_to(directory).parts:
            stem = part.partition(".")[0]
            role, rest = find_role(stem)
            if role:
                tops.setdefault(f"{role} {rest}", directory / _cut(path, directory, part))
                break
    roles = {key.partition(" ")[0] for key in tops}
    if len(roles) > 1:
        names = [str(path.relative_to(directory)) for path in tops.values()]
        raise UserError(advise(directory, names, "parts of one set"))


def _cut(path: Path, directory: Path, part: str) -> Path:
    """Return the path below `directory` as far as `part`."""
    parts = path.relative_to(directory).parts
    return Path(*parts[: parts.index(part) + 1])


def advise(directory: Path, names: Iterable[str], expected: str) -> str:
    """Say that `names` below a directory are sets and not what was expected."""
    sets = sorted(names)
    channels = [
        f"--channel {find_role(Path(name).name.partition('.')[0])[0]}={directory / name}"
        for name in sets
    ]
    return (
        f"{', '.join(sets)} below {directory} are sets of images and not {expected}; make each one "
        "a channel of its own (in S3, by a prefix that ends in it), such as "
        + name_command(f"train {' '.join(channels)}")
    )
