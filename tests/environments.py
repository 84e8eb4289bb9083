"""Environments for tests, apart from ours: with packages that clash with ours, or are large."""

from __future__ import annotations

import fcntl
import functools
import os
import subprocess
import sys
from pathlib import Path

from container.user_packages import job_environment
from tests.support import ROOT


@functools.cache
def install_apart(name: str) -> Path:
    """Return an environment with the packages of `tests/requirements-NAME.txt`.

    It lies in the environment that the tests run in, and is made once.
    """
    directory = Path(sys.prefix).resolve() / name  # programs name their interpreter by its path
    environ = {
        "VENV": str(directory),
        "PYTHON": str(getattr(sys, "_base_executable", sys.executable)),
        "PATH": f"{sys.prefix}/bin:{os.environ['PATH']}",  # where uv is
    }
    with Path(sys.prefix, f"{name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        command = [str(ROOT / "local_test/setup.sh"), str(ROOT / f"tests/requirements-{name}.txt")]
        subprocess.run(
            command, env={**os.environ, **environ}, check=True, timeout=900, stdout=subprocess.PIPE
        )
    return directory


def find_packages(name: str) -> Path:
    """Return the `site-packages` of an environment of `install_apart`."""
    return next((install_apart(name) / "lib").glob("python*/site-packages"))


def combine(directory: Path, *names: str) -> Path:
    """Make an environment in `directory`, on top of ours and of those of `install_apart`.

    Return the directory of its programs.
    """
    made = job_environment.make(directory)
    lines = [f"import site; site.addsitedir({str(find_packages(name))!r})" for name in names]
    (made.packages / "zz_tests.pth").write_text("\n".join(lines) + "\n")
    return directory / "bin"
