"""The versions that a model was made with, kept beside it, so that serving can say what has changed since (TRIP-28).

Rules of this file: standard library only; the file is ours alone, hidden, and never needed.
"""

from __future__ import annotations

import json
import platform
from importlib import metadata
from pathlib import Path
from typing import Final

FILE_NAME: Final = ".versions.json"


def describe() -> dict[str, str]:
    """Give the versions of Python and of every installed package, by name in lower case."""
    packages = {}
    for distribution in metadata.distributions():
        name = distribution.metadata["Name"]
        if name:
            packages[name.lower()] = distribution.version
    return {"python": platform.python_version(), **dict(sorted(packages.items()))}


def write(model_dir: Path) -> None:
    """Leave the versions in `model_dir`; raises OSError."""
    (model_dir / FILE_NAME).write_text(json.dumps(describe(), indent=0), encoding="utf-8")


def compare(model_dir: Path) -> list[str]:
    """Tell which packages of the model's making have another version here, or are missing; empty if none, or unknown.

    Patch releases are taken as equal: they pickle alike.
    """
    try:
        made_with: dict[str, str] = json.loads((model_dir / FILE_NAME).read_text(encoding="utf-8"))
        here = describe()
        changed = [
            name for name in made_with if _release(made_with[name]) != _release(here.get(name, ""))
        ]
        changed.sort(
            key=lambda name: name not in here
        )  # what is there in another version comes first
        return [
            f"{name} {made_with[name]} -> {here.get(name, 'not installed')}" for name in changed
        ]
    except (OSError, ValueError, AttributeError):
        return []


def _release(version: str) -> list[str]:
    return version.split(".")[:2]
