"""Plans the installation of `requirements.txt`, and of wheels beside it, for user code.

Rules of this file: standard library only; it composes commands and runs nothing.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from container import contract

REQUIREMENTS: Final = "requirements.txt"
WHEEL_DIRECTORIES: Final = (".", "wheels", "wheelhouse")


def find_wheel_directories(code: Path) -> list[str]:
    """Return the directories of `code` that hold wheels."""
    return [directory for directory in WHEEL_DIRECTORIES if any((code / directory).glob("*.whl"))]


def plan_installation(
    code: Path, environ: Mapping[str, str], *, is_package: bool = False
) -> list[str]:
    """Compose the pip command for `requirements.txt` and the package, to be run in `code`.

    It is empty if there is nothing to install.
    """
    targets = ["."] if is_package else []
    if (code / REQUIREMENTS).is_file():
        targets += ["-r", REQUIREMENTS]
    if not targets:
        return []
    command = [sys.executable, "-m", "pip", "install", "--no-input", "--disable-pip-version-check"]
    command += ["--root-user-action=ignore"]
    wheels = find_wheel_directories(code)
    if wheels:  # TRIP-27
        command += ["--no-index", *(f"--find-links={directory}" for directory in wheels)]
    elif is_isolated(environ):  # packages that the image has need no network
        command += ["--retries=0", "--timeout=5"]
    if is_package and (wheels or is_isolated(environ)):
        command += ["--no-build-isolation"]
    return command + targets


def is_isolated(environ: Mapping[str, str], routes: Path = Path("/proc/net/route")) -> bool:
    """Return whether there is probably no network (SEC-1).

    That is, no route, or a platform job without credentials.
    """
    with contextlib.suppress(OSError):
        if len(routes.read_text(encoding="ascii").splitlines()) <= 1:
            return True
    on_platform = bool(environ.get(contract.TRAINING_JOB_ARN_VARIABLE))
    return on_platform and not any(environ.get(name) for name in contract.CREDENTIALS_VARIABLES)


def explain_failure(environ: Mapping[str, str]) -> str:
    """Explain what to do after an installation failed."""
    if is_isolated(environ):
        return (
            "this job has no network (EnableNetworkIsolation?): bake the packages into the image, "
            "or put their wheels beside requirements.txt or into wheels/"
        )
    return "requirements.txt could not be installed; see pip's last lines"
