"""Reads the locks that pip cannot: `pylock.toml` as requirements, `uv.lock` as constraints.

Source: PEP 751. Rules of this file: standard library only.
"""

import re
from collections.abc import Collection
from pathlib import Path
from typing import Final

from container.errors import UserError
from container.user_packages.lists import toml_files
from container.user_packages.lists.requirement_lines import Line
from container.user_packages.lists.toml_files import Table

LOCK: Final = "pylock.toml"
UV_LOCK: Final = "uv.lock"
_LOCK_AGAIN: Final = "write it again, by uv export --format pylock.toml or pip lock"
_UV_LOCK_AGAIN: Final = "write it again, by uv lock"
_HASHES: Final = ("sha256", "sha384", "sha512")
# `"dev" in dependency_groups`, which pip does not know.
_GROUP: Final = re.compile(r"""(['"])([^'"]*)\1\s+(not\s+)?in\s+(extras|dependency_groups)\b""")
_TRUE: Final = "os_name != ''"
_FALSE: Final = "os_name == ''"


def list_requirements(code: Path) -> list[Line]:
    """Return what `pylock.toml` locks for this platform, without extras, with its hashes.

    Raises: UserError if it cannot be read, or locks something that pip cannot install.
    """
    lock = toml_files.read(code / LOCK, _LOCK_AGAIN)
    groups = lock.texts("default-groups")
    lines = []
    for package in lock.tables("packages"):
        marker = _settle_groups(package.text("marker"), groups)
        if Line(lock.path, f"x; {marker}").applies():
            lines.append(Line(lock.path, _write(package, marker)))
    return lines


def list_pins(code: Path) -> list[str]:
    """Return the versions that `uv.lock` pins, as constraints; empty without that file.

    Raises: UserError if it cannot be read.
    """
    lock = toml_files.read(code / UV_LOCK, _UV_LOCK_AGAIN)
    return sorted(
        _pin(package)
        for package in lock.tables("package")
        if "registry" in package.table("source") and "version" in package
    )


def _pin(package: Table) -> str:
    markers = " or ".join(f"({each})" for each in package.texts("resolution-markers"))
    return _join_marker(_name(package), markers)


def _settle_groups(marker: str, groups: Collection[str]) -> str:
    """Replace what a marker says about extras, of which none is asked for, and about groups."""

    def settle(found: re.Match[str]) -> str:
        is_in = found[4] == "dependency_groups" and found[2] in groups
        return _TRUE if is_in is not bool(found[3]) else _FALSE

    return _GROUP.sub(settle, marker)


def _write(package: Table, marker: str) -> str:
    """Return a requirement with its marker and hashes."""
    name = package.text("name")
    archive = package.table("archive")
    if "vcs" in package or "directory" in package or ("archive" in package) > ("url" in archive):
        raise UserError(
            f"{package.path}: {name} comes from a repository, a directory or a file, which this "
            "image cannot install; put its wheel into wheels/ and its name into requirements.txt"
        )
    if "archive" in package:
        pinned = f"{name} @ {archive.text('url')}"
        files = [archive]
    else:
        pinned = _name(package)
        files = [*package.tables("wheels")]
        if "sdist" in package:
            files.append(package.table("sdist"))
    hashes = sorted({_choose_hash(pinned, file) for file in files})
    return " ".join([_join_marker(pinned, marker), *hashes])


def _name(package: Table) -> str:
    """Return the name and version of a package."""
    name = package.text("name")
    version = package.text("version")
    if not name or not version:
        fault = f"{package.place.removesuffix('.')} ({name or 'a package'}) has no name or no "
        raise package.refuse(fault + "version")
    return f"{name}=={version}"


def _choose_hash(pinned: str, file: Table) -> str:
    """Return pip's option for the hash of a file; pip accepts three algorithms."""
    hashes = file.table("hashes")
    for algorithm in _HASHES:
        if algorithm in hashes:
            return f"--hash={algorithm}:{hashes.text(algorithm)}"
    found = ", ".join(hashes.values) or "none"
    fault = f"a file of {pinned} has no hash by {', '.join(_HASHES)}, so it cannot be checked "
    raise file.refuse(fault + f"({found} found)")


def _join_marker(requirement: str, marker: str) -> str:
    return f"{requirement} ; {marker}" if marker else requirement
