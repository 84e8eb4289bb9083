"""Environments for tests, apart from ours: with packages that clash with ours, or are large."""

from __future__ import annotations

import fcntl
import subprocess
import sys
import venv
from pathlib import Path

from tests.support import ROOT

_INSTALL = ("-m", "pip", "install", "--quiet", "--no-compile", "--require-hashes", "--no-deps")


def install_apart(name: str) -> Path:
    """Return an environment with the packages of `tests/requirements-NAME.txt`.

    It lies in the environment that the tests run in, and is made once.
    """
    directory, lock = Path(sys.prefix, name), ROOT / f"tests/requirements-{name}.txt"
    python, stamp = directory / "bin/python", directory / "installed.txt"
    with Path(sys.prefix, f"{name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        if not stamp.exists() or stamp.read_bytes() != lock.read_bytes():
            venv.create(directory, with_pip=True, clear=True)
            install = [str(python), *_INSTALL, "--requirement", str(lock)]
            subprocess.run(install, check=True, timeout=900)
            stamp.write_bytes(lock.read_bytes())
    return directory


def find_packages(name: str) -> Path:
    """Return the `site-packages` of an environment of `install_apart`."""
    return next((install_apart(name) / "lib").glob("python*/site-packages"))
