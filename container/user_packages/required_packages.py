"""What a user's code needs installed: `requirements.txt` and the wheels beside it, for training and serving alike.

Rules of this file: standard library only; it says what to run, and runs nothing.
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
    """Give the directories of `code` that hold wheels."""
    return [directory for directory in WHEEL_DIRECTORIES if any((code / directory).glob("*.whl"))]


def plan_installation(
    code: Path, environ: Mapping[str, str], *, is_package: bool = False
) -> list[str]:
    """Compose the pip command, to be run in `code`, for `requirements.txt` and, if it is one, the package itself.

    Empty if there is nothing to install.
    """
    has_requirements = (code / REQUIREMENTS).is_file()
    if not has_requirements and not is_package:
        return []
    command = [sys.executable, "-m", "pip", "install", "--no-input", "--disable-pip-version-check"]
    command += ["--root-user-action=ignore"]
    wheels = find_wheel_directories(code)
    if wheels:  # TRIP-27
        command += ["--no-index", *(f"--find-links={directory}" for directory in wheels)]
    elif is_isolated(environ):
        command += [
            "--retries=0",
            "--timeout=5",
        ]  # what the image has already satisfies a requirement without network
    if is_package:
        if wheels or is_isolated(environ):
            command += ["--no-build-isolation"]
        command += ["."]
    return command + (["-r", REQUIREMENTS] if has_requirements else [])


def is_isolated(environ: Mapping[str, str], routes: Path = Path("/proc/net/route")) -> bool:
    """Tell whether there is most likely no network (SEC-1): no route, or a platform job without credentials."""
    with contextlib.suppress(OSError):
        if len(routes.read_text(encoding="ascii").splitlines()) <= 1:
            return True
    on_platform = bool(environ.get(contract.TRAINING_JOB_ARN_VARIABLE))
    return on_platform and not any(environ.get(name) for name in contract.CREDENTIALS_VARIABLES)


def explain_failure(environ: Mapping[str, str]) -> str:
    """Say what may be done where the installation failed."""
    if is_isolated(environ):
        return (
            "this job has no network (EnableNetworkIsolation?): bake the packages into the image, or lay their wheels "
            "beside requirements.txt or in wheels/"
        )
    return "requirements.txt could not be installed; see pip's last lines"
