"""The versions that a model was built with, saved beside it, so that serving can report changes.

Source: TRIP-28. Rules of this file: standard library only; the file is hidden and optional.
"""

import json
import platform
import re
import sys
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import Final

FILE_NAME: Final = ".versions.json"
_HEADER: Final = re.compile(r"^(Name|Version): *(\S+)", re.MULTILINE)


def describe(directory: Path | None = None) -> dict[str, str]:
    """Return the versions of Python and of every installed package, by name in lower case.

    Packages in `directory` hide those of our own environment.
    """
    path = sys.path if directory is None else [str(directory), *sys.path]
    # Python imports the first one that it finds.
    packages = {name.lower(): version for name, version in reversed([*list_installed(path)])}
    return {"python": platform.python_version(), **dict(sorted(packages.items()))}


def list_installed(path: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield name and version of each package on `path`.

    Only two of their headers are parsed: `Distribution.metadata` takes 20 times as long.
    """
    names = ("METADATA", "PKG-INFO", "")  # the last is the file of an old .egg-info
    for package in metadata.distributions(path=list(path)):
        text = next(filter(None, map(package.read_text, names)), "")
        header = dict(_HEADER.findall(text.partition("\n\n")[0]))
        if "Name" in header and "Version" in header:
            yield header["Name"], header["Version"]


def write(model_dir: Path, directory: Path | None = None) -> None:
    """Save the versions in `model_dir`; see `describe` for `directory`. Raises: OSError."""
    (model_dir / FILE_NAME).write_text(json.dumps(describe(directory), indent=0), encoding="utf-8")


def compare(model_dir: Path) -> list[str]:
    """List packages whose version differs from the one the model was built with.

    Packages that are missing here come last; patch releases count as equal, since they pickle
    alike. The list is empty if the model's versions are unknown.
    """
    try:
        built_with: dict[str, str] = json.loads((model_dir / FILE_NAME).read_text(encoding="utf-8"))
        here = describe()
        changed = [
            name for name, version in built_with.items() if not _is_same(version, here.get(name))
        ]
    except (OSError, ValueError, AttributeError, RecursionError):
        return []
    changed.sort(key=lambda name: name not in here)
    return [f"{name} {built_with[name]} -> {here.get(name, 'not installed')}" for name in changed]


def _is_same(version: str, other: str | None) -> bool:
    return other is not None and version.split(".")[:2] == other.split(".")[:2]
