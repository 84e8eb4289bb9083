"""Composes the command that starts each kind of program, as the toolkit does."""

import contextlib
import importlib.util
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from container import contract
from container.errors import UserError
from container.training import typed
from container.training.user_script.find import Kind

_LAUNCHER_PACKAGES: Final = ("gevent", "inotify_simple", "paramiko", "psutil", "retrying")


def compose_toolkit_command() -> list[str]:
    """Compose the command by which the toolkit calls the function of a framework's container.

    Raises: UserError if packages that it needs are not installed.
    """
    missing = [name for name in _LAUNCHER_PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(
            f"{contract.TRAINING_MODULE_VARIABLE} needs packages that are not installed here: in "
            f"your image, pip install {' '.join(missing)}"
        )
    return [sys.executable, "-m", "sagemaker_training.cli.train"]


def compose_command(
    code: Path, name: str, kind: Kind, arguments: Sequence[str], python: str
) -> list[str]:
    """Compose the command of a program; a file that is not Python is made executable."""
    if kind == "package":
        module = name.removesuffix(".py").replace("/", ".")
        return [python, "-m", module, *arguments]
    if kind == "program":
        return [python, "--", name, *arguments]
    if kind == "algorithm":
        return [python, "-m", typed.__name__, name]
    with contextlib.suppress(OSError):
        (code / name).chmod(0o777)
    return ["/bin/sh", "-c", f"./{shlex.quote(name)} " + " ".join(map(shlex.quote, arguments))]
