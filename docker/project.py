"""A project that is built on the toolkit's image: checked by doctor, built, tried, then pushed.

Rules of this file: standard library only; the doctor and the smoke test are programs of the
checkout.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from programs import DeliveryError, run, say

ROOT: Final = Path(__file__).resolve().parents[1]
_NOT_PART: Final = {".git", ".venv", "jobs"}
"""Folders of the project itself that tools write; of the same name deeper down, they are code."""


@dataclass(frozen=True)
class Project:
    """A folder with a Dockerfile, as `init` writes it."""

    directory: Path

    @property
    def is_on_toolkit(self) -> bool:
        """Whether its Dockerfile takes the toolkit's image as BASE_IMAGE."""
        text = (self.directory / "Dockerfile").read_text(encoding="utf-8", errors="replace")
        return any(row.split("=")[0].split() == ["ARG", "BASE_IMAGE"] for row in text.splitlines())

    def compute_fingerprint(self) -> str:
        """Return twelve digits that name the project's files: names, content, executable or not."""
        digest = hashlib.sha256()
        for path in sorted(self._list_files()):
            with path.open("rb") as file:
                content = hashlib.file_digest(file, "sha256").hexdigest()
            name = os.fsencode(path.relative_to(self.directory))
            is_executable = os.access(path, os.X_OK)
            digest.update(name + f"\0{content} {is_executable:d}\n".encode())
        return digest.hexdigest()[:12]

    def _list_files(self) -> Iterator[Path]:
        for place, folders, names in os.walk(self.directory):
            left_out = {"__pycache__"}
            if Path(place) == self.directory:
                left_out |= _NOT_PART
            folders[:] = [name for name in folders if name not in left_out]
            yield from (Path(place, name) for name in names if Path(place, name).is_file())

    def check(self) -> None:
        """Let the doctor examine the project. Raises: DeliveryError if it finds an error."""
        command = [sys.executable, "-m", "container", "doctor", str(self.directory)]
        done = subprocess.run(command, cwd=ROOT, stdout=sys.stderr, check=False)
        if done.returncode:
            message = f"doctor found errors in {self.directory}; correct them, and run this again"
            raise DeliveryError(message)

    def compose_smoke(self, image: str) -> list[str]:
        """Compose the command that trains, serves and asks the image once.

        Raises: DeliveryError if data/ or request.csv is missing, or the harness is not installed.
        """
        data = self.directory / "data"
        body = self.directory / "request.csv"
        missing = [str(path) for path in (data, body) if not path.exists()]
        if missing:
            raise DeliveryError(
                f"the smoke test needs {' and '.join(missing)}; add them, or leave the test out "
                "with --no-smoke"
            )
        command = [_find_harness(), "-m", "local_test", "smoke", "--no-evaluation"]
        return [*command, "--image", image, "-c", f"training={data}", "--body", str(body)]

    def smoke(self, image: str) -> None:
        """Try the image once. Raises: DeliveryError if it does not train, serve or answer."""
        os.environ["PYTHONPATH"] = str(ROOT)
        say("smoke test")
        run(self.compose_smoke(image), stream=True)


def find(image: str, named: Path | None, *, is_toolkit: bool) -> Project | None:
    """Return the project to build: the one that is named, or the folder of the image's name here.

    Raises: DeliveryError if the Dockerfile is missing, so that the bare toolkit is never pushed
    under the name of a project by mistake.
    """
    if is_toolkit:
        return None
    directory = named or Path(image.rpartition("/")[2])
    if (directory / "Dockerfile").is_file():
        return Project(directory.resolve())
    if named is None and not (directory / "code").is_dir():
        say(f"building the toolkit itself: there is no project in {directory.absolute()}")
        return None
    raise DeliveryError(
        f"{directory} has no Dockerfile, so this project cannot be built; copy the one that "
        "`python -m container init` writes, or build the toolkit's own image with --toolkit"
    )


def _find_harness() -> str:
    """Return a Python that has what `local_test` needs."""
    found: Sequence[str | None] = (
        str(ROOT / ".venv/bin/python"),
        sys.executable,
        shutil.which("python3"),
    )
    for python in filter(None, found):
        if Path(python).exists():
            command = [python, "-c", "import typer, botocore, docker.models"]
            if subprocess.run(command, cwd="/", capture_output=True, check=False).returncode == 0:
                return python
    raise DeliveryError(
        "the smoke test needs the harness, which is not installed here; run "
        "local_test/setup.sh docker/requirements-local.txt, or leave it out with --no-smoke"
    )
