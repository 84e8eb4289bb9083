"""Reads `requirements.txt` as pip does: its encoding, other files that it names, and markers.

Source: pip's "Requirements File Format". Rules of this file: standard library only; pip's copy of
`packaging` is loaded when a line is parsed.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from container.errors import UserError
from container.user_packages.lists import encoded_text

if TYPE_CHECKING:
    from pip._vendor.packaging.requirements import Requirement


class Line(NamedTuple):
    """One requirement of a list."""

    path: Path
    """The file that holds it."""
    text: str
    """As in the file, without comments and `-e`."""
    is_constraint: bool = False
    """Whether it only limits a version that something else asks for."""

    def parse(self) -> Requirement | None:
        """Return the requirement without options, or None if only pip knows what it means."""
        from pip._vendor.packaging.requirements import (  # loads pip
            InvalidRequirement,
            Requirement,
        )

        with contextlib.suppress(InvalidRequirement):
            return Requirement(self.text.partition(" --")[0])
        return None

    def applies(self) -> bool:
        """Return whether its environment marker holds here; true without a marker."""
        from pip._vendor.packaging.markers import Marker  # loads pip

        # In a URL, a semicolon begins a marker only before a space.
        separator = r"\s;|;\s" if "://" in self.text else ";"
        _, *marker = re.split(separator, self.text.partition(" --")[0], maxsplit=1)
        with contextlib.suppress(ValueError):  # pip reports what is wrong
            return not marker or Marker(marker[0].strip()).evaluate({"extra": ""})
        return True


def read(path: Path, *, is_constraint: bool = False, parents: tuple[Path, ...] = ()) -> list[Line]:
    """Return the requirements of a file and of those that it names with `-r` and `-c`.

    What it names by a URL is left to pip.

    Raises: UserError if a file cannot be read or names itself.
    """
    if os.path.realpath(path) in map(os.path.realpath, parents):
        message = f"{parents[-1]} names {path}, which leads to it; remove one of the two lines"
        raise UserError(message)
    try:
        text = encoded_text.read_text(path, errors="replace")
    except (OSError, ValueError) as error:
        named = f", named in {parents[-1]}," if parents else ""
        raise UserError(f"{path}{named} cannot be read: {error}") from error
    found = []
    for line in _join(text):
        if not line.startswith("-"):
            found.append(Line(path, line, is_constraint))
            continue
        options = _parse_options(line)
        found += [Line(path, each, is_constraint) for each in options.editable]
        for kind, names in (("r", options.requirement), ("c", options.constraint)):
            for name in names:
                if "://" not in name:
                    found += read(
                        path.parent / name,
                        is_constraint=is_constraint or kind == "c",
                        parents=(*parents, path),
                    )
    return found


def _join(text: str) -> Iterator[str]:
    """Yield lines that are not empty, joined where a backslash ends them, without comments."""
    joined = re.sub(r"\\\r?\n", " ", text)
    for line in joined.splitlines():
        content = re.sub(r"(^|\s)#.*$", "", line).strip()
        if content:
            yield content


def _parse_options(line: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    for name in ("requirement", "constraint", "editable"):
        parser.add_argument(f"-{name[0]}", f"--{name}", action="append", default=[])
    with contextlib.suppress(argparse.ArgumentError, ValueError):  # pip reports what is wrong
        return parser.parse_known_args(shlex.split(line))[0]
    return parser.parse_args([])
