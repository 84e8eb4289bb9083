"""Makes a virtual environment for one job, on top of the one that runs this program.

What user code installs lies in the job's directory: it hides packages of ours from the user's
program only, and disappears with the job. Nothing of our own environment is changed.
"""

import os
import sysconfig
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_LINK: Final = "zz_byo_container.pth"


@dataclass(frozen=True)
class JobEnvironment:
    """An environment in which a job's packages are installed."""

    directory: Path

    @property
    def python(self) -> str:
        """Path of its Python, which also finds the packages of our own environment."""
        return str(self.directory / "bin/python")

    @property
    def packages(self) -> Path:
        """Directory of its own packages."""
        base = {"base": str(self.directory), "platbase": str(self.directory)}
        return Path(sysconfig.get_path("purelib", "venv", base))

    def add_to(self, variables: Mapping[str, str]) -> dict[str, str]:
        """Return `variables` for a program that runs in the environment, also a shell script."""
        path = os.pathsep.join(filter(None, (str(self.directory / "bin"), variables.get("PATH"))))
        return {**variables, "PATH": path, "VIRTUAL_ENV": str(self.directory)}


def make(directory: Path) -> JobEnvironment:
    """Make an environment in `directory`; its packages come before ours. Raises: OSError."""
    import venv

    venv.EnvBuilder(with_pip=False, symlinks=True).create(directory)
    environment = JobEnvironment(directory)
    ours = sysconfig.get_path("purelib")
    (environment.packages / _LINK).write_text(
        f"import site; site.addsitedir({ours!r})\n", encoding="utf-8"
    )
    return environment


def choose_parent(environ: Mapping[str, str]) -> str:
    """Return a directory for environments: the home directory, which ends with a container."""
    home = environ.get("HOME", "")
    if home and os.access(home, os.W_OK):
        return home
    return tempfile.gettempdir()
