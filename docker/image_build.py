"""What one image is built from, and in which steps: the toolkit's, or a project's on top of it.

Rules of this file: standard library only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from programs import run
from project import Project

ROOT: Final = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Build:
    """What to build, and with which client."""

    client: str
    tag: str
    options: list[str]
    """The build command, without name and directory."""
    is_named_by_content: bool
    """Whether the tag names a clean revision: one image, wherever it is built."""
    project: Project | None = None
    base: str = ""
    """Name of the toolkit's image for a project."""
    is_tried: bool = True

    def compose(self, name: str) -> list[list[str]]:
        """Compose the commands that build the image as `name`: the toolkit's, then a project's."""
        if self.project is None:
            return [[*self.options, "--tag", name, str(ROOT)]]
        directory = self.project.directory
        own = [*_select_client_options(self.options), "--file", str(directory / "Dockerfile")]
        if not self.project.is_on_toolkit:
            return [[*own, "--tag", name, str(directory)]]
        own += ["--build-arg", f"BASE_IMAGE={self.base}"]
        toolkit = [*self.options, "--tag", self.base, str(ROOT)]
        return [toolkit, [*own, "--tag", name, str(directory)]]

    def make(self, name: str) -> None:
        """Build the image as `name`; check a project before, and try it after."""
        if self.project is not None:
            self.project.check()
            if self.is_tried:
                self.project.compose_smoke(name)  # what it lacks is said before the build
        for command in self.compose(name):
            run(command, stream=True)
        if self.project is not None and self.is_tried:
            self.project.smoke(name)


def _select_client_options(options: Sequence[str]) -> list[str]:
    """Return a build's options without those of the toolkit's own Dockerfile."""
    kept: list[str] = []
    is_value = False
    for option in options:
        if is_value:
            is_value = False
        elif option in ("--file", "--build-arg", "--target"):
            is_value = True
        else:
            kept.append(option)
    return kept
