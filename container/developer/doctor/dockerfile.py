"""Examines a Dockerfile by the rules for images."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

from container.developer.doctor import image
from container.developer.doctor.finding import Finding


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


def _parse_command(text: str) -> list[str]:
    """Parse the exec form; the shell form becomes the command that the engine makes of it."""
    try:
        return list(json.loads(text))
    except ValueError:
        return ["/bin/sh", "-c", text]
