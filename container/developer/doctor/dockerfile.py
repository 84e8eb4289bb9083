"""Examines a Dockerfile by the rules for images."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from container.developer.doctor import image
from container.developer.doctor.finding import Finding
from container.user_packages import requirement_files
from container.user_packages.import_advice import APT_LIST

_INSTALLS: Final = re.compile(
    r"\b(pip3?|uv|poetry|conda)\b.*\b(install|sync)\b|\bcontainer\.developer\.install\b"
)


def examine(path: Path) -> Iterator[Finding]:
    """Examine a Dockerfile."""
    text = re.sub(r"\\\n", " ", path.read_text(encoding="utf-8"))
    for line in map(str.strip, text.splitlines()):
        instruction, _, rest = line.partition(" ")
        place = f"{path}: {line!r}"
        match instruction.upper():
            case "ENTRYPOINT":
                yield from image.judge_entry_point(place, _parse_command(rest))
            case "USER":
                yield from image.judge_user(place, rest.strip())
            case "COPY" | "ADD":
                yield from image.judge_copy(place, rest)
            case "FROM" if "--platform=linux/arm64" in rest:
                yield from image.judge_platform(place, "linux/arm64")


def examine_project(path: Path, code: Path) -> Iterator[Finding]:
    """Examine whether a project's Dockerfile installs what the project's code lists."""
    text = path.read_text(encoding="utf-8")
    lists = requirement_files.list_files(code)
    if lists and not _INSTALLS.search(text):
        yield Finding(
            "warning",
            f"{path} does not install {code / lists[0]}: training installs it by itself, serving "
            "does not; add RUN python -m container.developer.install, as the Dockerfile of `init` "
            "has it",
        )
    if (code / APT_LIST).is_file() and APT_LIST not in text:
        yield Finding(
            "warning",
            f"{path} does not install the packages in {code / APT_LIST}; add the line that the "
            "Dockerfile of `init` has",
        )


def _parse_command(text: str) -> list[str]:
    """Parse the exec form; the shell form becomes the command that the engine makes of it."""
    try:
        return list(json.loads(text))
    except ValueError:
        return ["/bin/sh", "-c", text]
