"""Finds the files in which user code lists its packages, and reads the locks that pip cannot.

Rules of this file: standard library only.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from container.errors import UserError
from container.user_packages import requirement_lines
from container.user_packages.requirement_lines import Line

REQUIREMENTS: Final = "requirements.txt"
_LISTS: Final = (REQUIREMENTS, f"lib/{REQUIREMENTS}")
PROJECT: Final = "pyproject.toml"
_LOCK: Final = "pylock.toml"
_UV_LOCK: Final = "uv.lock"


def list_files(code: Path) -> list[str]:
    """Return the files of `code` that list packages, the one that is installed first."""
    lists = [name for name in _LISTS if (code / name).is_file()]
    if (code / _LOCK).is_file():
        lists.append(_LOCK)
    if _read_project(code).get("dependencies"):
        lists.append(PROJECT)
    return lists


def choose_files(code: Path) -> tuple[list[str], list[str]]:
    """Return the files to install, and those that the first ones make superfluous.

    Lists of requirements win over a lock, and a lock over the dependencies of a project.
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
    path = code / name
    if is_list(name):
        return requirement_lines.read(path)
    if name == _LOCK:
        packages = _load(path).get("packages") or []
        return [Line(path, _write_locked(path, package)) for package in packages]
    return [Line(path, text) for text in _read_project(code).get("dependencies") or []]


def list_pins(code: Path) -> list[str]:
    """Return the versions that `uv.lock` pins, as constraints; empty without that file.

    Raises: UserError if it cannot be read.
    """
    if not (code / _UV_LOCK).is_file():
        return []
    return sorted(
        _join_markers(f"{package['name']}=={package['version']}", package)
        for package in _load(code / _UV_LOCK).get("package") or []
        if "registry" in package.get("source", {}) and "version" in package
    )


def _write_locked(path: Path, package: Mapping[str, Any]) -> str:
    name = package.get("name")
    if "vcs" in package or "directory" in package:
        message = (
            f"{path}: {name} comes from a repository or a directory, which this image cannot "
            "install; put its wheel into wheels/ and its name into requirements.txt"
        )
        raise UserError(message)
    if "archive" in package:
        return _join_markers(f"{name} @ {package['archive'].get('url', '')}", package)
    files = [*package.get("wheels", []), *filter(None, [package.get("sdist")])]
    hashes = sorted({f"--hash=sha256:{file['hashes']['sha256']}" for file in files})
    pinned = _join_markers(f"{name}=={package.get('version')}", package)
    return " ".join([pinned, *hashes])


def _join_markers(requirement: str, package: Mapping[str, Any]) -> str:
    """Add the environment markers of a locked package; of several, one has to be true."""
    markers: Sequence[str] = package.get("resolution-markers") or ()
    marker = package.get("marker") or " or ".join(f"({each})" for each in markers)
    return f"{requirement} ; {marker}" if marker else requirement


def _read_project(code: Path) -> Mapping[str, Any]:
    path = code / PROJECT
    if not path.is_file():
        return {}
    project = _load(path).get("project")
    return project if isinstance(project, dict) else {}


def _load(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        message = f"{path} cannot be read: {error}"
        raise UserError(message) from error
