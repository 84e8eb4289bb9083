"""`python -m container.developer.install CODE`: installs what CODE lists into this environment.

A step of a Dockerfile: the packages are there for training and serving alike, without a network.
Files and wheels are found as in a training job; a version other than ours is a conflict.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from container.errors import UserError
from container.user_packages import required_packages
from container.user_packages.job_environment import JobEnvironment
from container.user_packages.lists import requirement_files


def main(argv: Sequence[str]) -> int:
    """Install; return pip's exit code, or 1 if the lists cannot be used."""
    parser = argparse.ArgumentParser(
        prog="python -m container.developer.install",
        description="Install the packages that a code directory lists into this environment.",
    )
    parser.add_argument("code", type=Path, help="the directory with requirements.txt or a lock")
    code = parser.parse_args(argv).code.absolute()
    try:
        return _install(code)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _install(code: Path) -> int:
    if not code.is_dir():
        raise UserError(f"{code} is not a directory; name the one with requirements.txt or a lock")
    if not required_packages.is_needed(code):
        foreign = requirement_files.list_foreign(code)
        print("\n".join(foreign) or f"{code} lists no packages", flush=True)
        return 0
    with tempfile.TemporaryDirectory() as scratch:
        plan = required_packages.plan_installation(
            code, os.environ, JobEnvironment(Path(scratch)), keeps_ours=True
        )
        command = [sys.executable, *plan[1:], "--no-cache-dir"]
        done = subprocess.run(command, cwd=code, check=False)  # noqa: S603 - pip
    if done.returncode:
        explanation = required_packages.explain_failure(code, os.environ, "")
        print(f"error: {explanation}", file=sys.stderr)
    return done.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
