"""Examines a Dockerfile by the rules for images."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from container import image_rules
from container.developer.doctor import image, own_programs
from container.developer.doctor.finding import Finding
from container.user_packages import requirement_files
from container.user_packages.import_advice import APT_LIST

_INSTALLS: Final = re.compile(
    r"\b(pip3?|uv|poetry|conda)\b.*\b(install|sync)\b|\bcontainer\.developer\.install\b"
)


def examine(path: Path) -> Iterator[Finding]:
    """Examine a Dockerfile."""
    for line in map(str.strip, _read(path).splitlines()):
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


def examine_programs(path: Path, found: Sequence[Path]) -> Iterator[Finding]:
    """Examine the programs `found` beside a Dockerfile, its entry point, and what labels promise.

    Labels are judged only where the image brings its own server.
    """
    text = _read(path)
    yield from own_programs.examine(found, text)
    for line in text.splitlines():
        instruction, _, rest = line.strip().partition(" ")
        if instruction.upper() == "ENTRYPOINT":
            names = {Path(part).name for part in _parse_command(rest)} - {"train", "serve"}
            scripts = [script for script in path.parent.rglob("*") if script.name in names]
            for script in filter(Path.is_file, scripts):
                yield from own_programs.examine_wrapper(script)
    promised = [name for name in image_rules.LABELS if _is_promised(text, name)]
    if any(program.name == "serve" for program in found):
        yield from own_programs.examine_labels(str(path), promised, _list_code(path.parent))


def _is_promised(text: str, label: str) -> bool:
    return bool(re.search(rf"{re.escape(label)}[\"']?[= ]\s*[\"']?true\b", text))


def _list_code(directory: Path) -> Iterator[Path]:
    """Yield the files in which a server or its settings may be."""
    for path in directory.rglob("*"):
        is_code = path.suffix in ("", ".py", ".sh", ".conf", ".toml", ".txt")
        if is_code and path.is_file() and not path.name.startswith("Dockerfile"):
            yield path


def _read(path: Path) -> str:
    """Return the text of a Dockerfile with each instruction in one line."""
    return re.sub(r"\\\r?\n", " ", path.read_text(encoding="utf-8", errors="replace"))


def _parse_command(text: str) -> list[str]:
    """Parse the exec form; the shell form becomes the command that the engine makes of it."""
    try:
        return list(json.loads(text))
    except ValueError:
        return ["/bin/sh", "-c", text]
