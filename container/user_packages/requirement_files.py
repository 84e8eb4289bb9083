"""Finds the files in which user code lists its packages, and reads the locks that pip cannot.

Rules of this file: standard library only.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from container.errors import UserError
from container.user_packages import foreign_lists, requirement_lines
from container.user_packages.requirement_lines import Line

REQUIREMENTS: Final = "requirements.txt"
_LISTS: Final = (REQUIREMENTS, f"lib/{REQUIREMENTS}")
PROJECT: Final = "pyproject.toml"
_LOCK: Final = "pylock.toml"
_UV_LOCK: Final = "uv.lock"
_LOCK_AGAIN: Final = "write it again, by uv export --format pylock.toml or pip lock"


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
        lines = [_write_locked(path, package) for package in _read_locked(path)]
        return [Line(path, text) for text in lines]
    dependencies = _read_project(code).get("dependencies") or []
    if not isinstance(dependencies, list):
        message = f"{path}: dependencies is {dependencies!r}; a list of requirements is expected"
        raise UserError(message)
    return [Line(path, str(text)) for text in dependencies]


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


def _read_locked(path: Path) -> list[dict[str, Any]]:
    """Return the packages of a lock whose markers hold here."""
    packages = _load(path).get("packages") or []
    if not isinstance(packages, list) or not all(isinstance(each, dict) for each in packages):
        message = f"{path} cannot be read: packages is not an array of tables; {_LOCK_AGAIN}"
        raise UserError(message)
    return [each for each in packages if Line(path, f"x; {each.get('marker', '')}").applies()]


def _write_locked(path: Path, package: Mapping[str, Any]) -> str:
    name = package.get("name")
    archive = package.get("archive", {})
    if (
        "vcs" in package
        or "directory" in package
        or ("archive" in package and "url" not in archive)
    ):
        message = (
            f"{path}: {name} comes from a repository, a directory or a file, which this image "
            "cannot install; put its wheel into wheels/ and its name into requirements.txt"
        )
        raise UserError(message)
    if archive:
        return _join_markers(f"{name} @ {archive['url']}", package)
    if not name or "version" not in package:
        message = f"{path}: {name or 'a package'} has no name or no version; {_LOCK_AGAIN}"
        raise UserError(message)
    files = [*package.get("wheels", []), *filter(None, [package.get("sdist")])]
    hashes = sorted({_choose_hash(path, f"{name}=={package['version']}", file) for file in files})
    pinned = _join_markers(f"{name}=={package['version']}", package)
    return " ".join([pinned, *hashes])


def _choose_hash(path: Path, pinned: str, file: Mapping[str, Any]) -> str:
    """Return pip's option for the hash of a file; pip accepts three algorithms."""
    hashes = file.get("hashes") or {}
    for algorithm in ("sha256", "sha384", "sha512"):
        if algorithm in hashes:
            return f"--hash={algorithm}:{hashes[algorithm]}"
    message = (
        f"{path}: a file of {pinned} has no hash by sha256, sha384 or sha512 "
        f"({', '.join(hashes) or 'none'} found), so it cannot be checked; {_LOCK_AGAIN}"
    )
    raise UserError(message)


def _join_markers(requirement: str, package: Mapping[str, Any]) -> str:
    """Add the environment markers of a locked package; of several, one has to be true."""
    markers: Sequence[str] = package.get("resolution-markers") or ()
    marker = package.get("marker") or " or ".join(f"({each})" for each in markers)
    return f"{requirement} ; {marker}" if marker else requirement


def _read_project(code: Path) -> Mapping[str, Any]:
    project = _load_project(code).get("project")
    return project if isinstance(project, dict) else {}


def _load_project(code: Path) -> dict[str, Any]:
    path = code / PROJECT
    return _load(path) if path.is_file() else {}


def list_foreign(code: Path) -> list[str]:
    """Return a sentence for each list that is not installed, in code that has no other.

    Raises: UserError if `pyproject.toml` cannot be read.
    """
    return [] if list_files(code) else foreign_lists.find(code, _load_project(code))


def _load(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        message = f"{path} cannot be read: {error}"
        raise UserError(message) from error
