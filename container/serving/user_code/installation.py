"""Installs the packages of inference code, once for all workers of a server.

The code shares the server's process, so a version other than the server's own is a conflict, and
what is installed lies in an environment beside ours.
"""

import fcntl
import hashlib
import importlib
import logging
import os
import site
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from container import variables
from container.errors import UserError
from container.user_packages import job_environment, required_packages
from container.user_packages.job_environment import JobEnvironment
from container.user_packages.lists import requirement_files

log = logging.getLogger(__name__)

INSTALL_VARIABLE: Final = "SAGEMAKER_INSTALL_REQUIREMENTS"


def is_wanted(code: Path, environ: Mapping[str, str]) -> bool:
    """Return whether packages are installed: without a network, or because the user asks for it.

    Raises: UserError if the variable, or a file that lists packages, cannot be read.
    """
    is_asked_for = variables.flag(INSTALL_VARIABLE, environ)
    if not (is_asked_for or required_packages.find_wheel_directories(code)):
        return False
    return required_packages.is_needed(code)


def list_foreign(code: Path) -> list[str]:
    """Return a sentence for each list of packages that no user can have installed.

    Serving does without them, so that one that cannot be read is reported and not raised.
    """
    try:
        return requirement_files.list_foreign(code)
    except UserError as error:
        return [str(error)]


def explain_missing(code: Path, *, installed: bool) -> str:
    """Say what to do about a package that the code imports and that is missing; empty if unknown.

    `installed` says whether the lists of `code` were installed.
    """
    foreign = list_foreign(code)
    if foreign:
        return "; ".join(foreign)
    lists = requirement_files.list_files(code)
    if not lists:
        return ""
    if installed:
        return f"{' and '.join(lists)} in {code} was installed and does not list it: add it there"
    return (
        f"{lists[0]} is not installed from an index while serving: bake it into the image, put "
        "the packages into code/lib or their wheels into code/wheels, or set "
        f"{INSTALL_VARIABLE}=true"
    )


def install(code: Path, environ: Mapping[str, str]) -> None:
    """Install what `code` lists and make it importable; `/ping` answers 503 meanwhile.

    Raises: UserError with the end of pip's output, and both sides of a conflict.
    """
    # A multi-model endpoint may unpack another version of a model at the same place.
    version = code.stat().st_mtime_ns
    key = hashlib.sha256(f"{os.getppid()} {code} {version}".encode()).hexdigest()[:16]
    directory = Path(job_environment.choose_parent(environ), f"installed-{key}")
    with directory.with_suffix(".lock").open("a+b") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not lock.seek(0, os.SEEK_END):  # this worker is the first
            _install(code, environ, directory)
            lock.write(b"done")
    site.addsitedir(str(JobEnvironment(directory).packages))
    importlib.invalidate_caches()


def _install(code: Path, environ: Mapping[str, str], directory: Path) -> None:
    made = job_environment.make(directory)
    command = required_packages.plan_installation(code, environ, made, keeps_ours=True)
    log.info("installing: %s", " ".join(command))
    done = subprocess.run(  # noqa: S603 - pip, with arguments of ours
        command, cwd=code, env=made.add_to(environ), capture_output=True, text=True, check=False
    )
    if done.returncode:
        explanation = required_packages.explain_failure(code, environ, done.stderr)
        raise UserError(
            f"the packages of {code} cannot be installed: {explanation}: "
            f"{done.stderr.strip()[-800:]}"
        )
