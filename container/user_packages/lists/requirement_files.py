"""Finds the files in which user code lists its packages, and reads them.

Rules of this file: standard library only.
"""

import re
from pathlib import Path
from typing import Any, Final

from container.user_packages.lists import (
    encoded_text,
    foreign_lists,
    locks,
    requirement_lines,
    toml_files,
)
from container.user_packages.lists.requirement_lines import Line
from container.user_packages.lists.toml_files import Table

REQUIREMENTS: Final = "requirements.txt"
_LISTS: Final = (REQUIREMENTS, f"lib/{REQUIREMENTS}")
PROJECT: Final = "pyproject.toml"
_DEPENDENCIES: Final = "dependencies"
_NAME: Final = re.compile(r"[\w.-]+")
_PLACES: Final = frozenset({"git", "path", "file", "url", "workspace"})


def list_files(code: Path) -> list[str]:
    """Return the files of `code` that list packages, the one that is installed first.

    Raises: UserError if `pyproject.toml` cannot be read, or something else has a list's name.
    """
    found = [name for name in (*_LISTS, locks.LOCK) if encoded_text.is_there(code / name)]
    if _read_project(code).texts(_DEPENDENCIES):
        found.append(PROJECT)
    return found


def choose_files(code: Path) -> tuple[list[str], list[str]]:
    """Return the files to install, and those that the first ones make superfluous.

    Lists of requirements win over a lock, and a lock over the dependencies of a project.

    Raises: UserError as `list_files` does.
    """
    found = list_files(code)
    lists = [name for name in found if name in _LISTS]
    chosen = lists or found[:1]
    return chosen, [name for name in found if name not in chosen]


def is_list(name: str) -> bool:
    """Return whether pip can read a file as it is."""
    return name in _LISTS


def list_requirements(code: Path, name: str) -> list[Line]:
    """Return what a file lists, as lines of a `requirements.txt`.

    Raises: UserError if the file cannot be read, or lists something that pip cannot install.
    """
    if is_list(name):
        return requirement_lines.read(code / name)
    if name == locks.LOCK:
        return locks.list_requirements(code)
    return [Line(code / name, text) for text in _read_project(code).texts(_DEPENDENCIES)]


def list_elsewhere(code: Path) -> list[str]:
    """Return the dependencies of a project that uv or Poetry would not take from an index.

    Such as `thing (git)`. pip would take what an index has under the same name.

    Raises: UserError if `pyproject.toml` cannot be read.
    """
    tool = toml_files.read(code / PROJECT).table("tool")
    named: dict[str, Any] = {
        **tool.table("poetry").table(_DEPENDENCIES).values,
        **tool.table("uv").table("sources").values,
    }
    places = {normalize(name): _find_place(value) for name, value in named.items()}
    elsewhere = []
    for text in _read_project(code).texts(_DEPENDENCIES):
        name = _NAME.match(text)
        place = places.get(normalize(name[0])) if name and "@" not in text else ""
        if name and place:
            elsewhere.append(f"{name[0]} ({place})")
    return elsewhere


def _find_place(source: Any) -> str:
    """Return the key that says that a package is not in an index; uv may list several sources."""
    tables = source if isinstance(source, list) else [source]
    keys = [key for table in tables if isinstance(table, dict) for key in table]
    return next((key for key in keys if key in _PLACES), "")


def normalize(name: str) -> str:
    """Return the name of a package as all its spellings have it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def check(code: Path) -> list[str]:
    """Read every list that would be installed, and return their names.

    Raises: UserError if one of them cannot be used.
    """
    chosen, _ = choose_files(code)
    for name in chosen:
        list_requirements(code, name)
    locks.list_pins(code)
    return chosen


def has_project(code: Path) -> bool:
    """Return whether `pyproject.toml` makes a package of `code`.

    Raises: UserError if it cannot be read.
    """
    tables = toml_files.read(code / PROJECT)
    return "project" in tables or "build-system" in tables


def _read_project(code: Path) -> Table:
    return toml_files.read(code / PROJECT).table("project")


def list_foreign(code: Path) -> list[str]:
    """Return a sentence for each list that is not installed, in code that has no other.

    Raises: UserError if `pyproject.toml` cannot be read.
    """
    return [] if list_files(code) else foreign_lists.find(code, toml_files.read(code / PROJECT))
