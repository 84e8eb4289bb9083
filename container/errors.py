"""The errors of the container, named by who can fix them.

A message says what is wrong, what was found and what is possible. Code that can find several faults
collects them and raises once: `UserError.from_faults`. Any other exception that escapes is a bug.
The functions word what many messages name: paths, and commands as the user types them.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

_ROOT: Final = Path(__file__).parents[1]
IS_PACKAGE: Final = (_ROOT / "byo.py").is_file() and not (_ROOT / "pyproject.toml").is_file()
_DEVELOPER_COMMANDS: Final = ("init", "doctor", "describe")


class UserError(Exception):
    """The user's hyperparameters, data or code are at fault; the user can fix them."""

    @classmethod
    def from_faults(cls, summary: str, faults: Sequence[str]) -> UserError:
        """Join several faults into one error; a single fault follows on the summary's line."""
        if len(faults) == 1:
            return cls(f"{summary}: {faults[0]}")
        lines = [f"{summary}: {len(faults)} faults", *(f"  - {fault}" for fault in faults)]
        return cls("\n".join(lines))


class PlatformError(Exception):
    """Mounts, configuration, disk or device are at fault; whoever runs the container can fix it."""


class RequestError(Exception):
    """A client's request is at fault; the HTTP status says so (RQ-6)."""

    def __init__(self, status: int, message: str) -> None:
        """`status` is a 4xx code, or 503 if the only fault is that there are too many requests."""
        super().__init__(message)
        self.status = status


def describe_absence(place: str | Path) -> str:
    """Return one sentence about a path that does not exist; every command uses it.

    It names the first part of the path that is missing, and entries with similar names.
    """
    import difflib

    path = Path(place)
    text = f"{path} does not exist"
    missing = next((part for part in (path, *path.parents) if part.parent.is_dir()), path)
    if missing != path:
        text += f": {missing} is missing"
    _, folders, files = next(os.walk(missing.parent), ("", [], []))
    near = difflib.get_close_matches(missing.name, [*folders, *files], n=3)
    if near:
        text += f"; did you mean {' or '.join(str(missing.parent / name) for name in near)}?"
    return text


def find_file_in_the_way(path: Path) -> Path | None:
    """Return the file that a path is or leads through, or None if there is none."""
    return next((part for part in (path, *path.parents) if part.is_file()), None)


def describe_refusal(place: str | Path, error: OSError) -> str:
    """Return one sentence about a path, and why the operating system refused it."""
    path = Path(place)
    if isinstance(error, IsADirectoryError):
        return f"{path} is a folder; name a file"
    is_for_a_file = isinstance(error, NotADirectoryError | FileExistsError)
    if is_for_a_file and (file := find_file_in_the_way(path)):
        return f"{file} is a file; name a folder"
    return f"{path}: {error.strerror}"


def describe_port(port: int, error: OSError, flag: str = "--port") -> str:
    """Return one sentence about a port on which nothing can listen."""
    text = f"{flag} {port}: the port cannot be used: {error.strerror}; "
    if error.errno == errno.EADDRINUSE:
        text += "end the program that listens on it, or "
    return f"{text}choose another port"


def name_command(command: str) -> str:
    """Return what a user types for a command, in a package, a checkout or an image.

    Messages name every command by it; its options may follow it.
    """
    if IS_PACKAGE:
        return f"byo {command}"
    if command.partition(" ")[0] in _DEVELOPER_COMMANDS:
        return f"python -m container {command}"
    return f"python -m local_test {command}"


def name_installation(extra: str) -> str:
    """Return what a user types to install an extra of the package."""
    if not IS_PACKAGE and (_ROOT / "pyproject.toml").is_file():  # in an image both are absent
        return "local_test/setup.sh docker/requirements-local.txt"
    install = "pip install"
    if Path(sys.prefix, "pipx_metadata.json").is_file():
        install = "pipx runpip byo-sagemaker install"
    return f"{install} 'byo-sagemaker[{extra}]'"
