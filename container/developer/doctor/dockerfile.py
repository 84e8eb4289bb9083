"""Examines a Dockerfile by the rules for images."""

import contextlib
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from container import image_rules
from container.developer.doctor import image, own_programs
from container.developer.doctor.finding import Finding
from container.errors import UserError
from container.user_packages.import_advice import APT_LIST
from container.user_packages.lists import requirement_files

_INSTALLS: Final = re.compile(
    r"\b(pip3?|uv|poetry|conda)\b.*\b(install|sync)\b|\bcontainer\.developer\.install\b"
)


def examine(path: Path) -> Iterator[Finding]:
    """Examine a Dockerfile."""
    if "\0" in _read(path):
        yield Finding("error", f"{path} is not text that a builder reads; save it as UTF-8")
    for line in map(str.strip, _read(path).splitlines()):
        instruction, _, rest = line.partition(" ")
        place = f"{path}: {line!r}"
        match instruction.upper():
            case "COPY" | "ADD":
                yield from image.judge_copy(place, rest)
            case "FROM" if "--platform=linux/arm64" in rest:
                yield from image.judge_platform(place, "linux/arm64")
    effective = _find_effective(path)
    if "ENTRYPOINT" in effective:
        line, rest = effective["ENTRYPOINT"]
        yield from image.judge_entry_point(f"{path}: {line!r}", _parse_command(rest))
    if "USER" in effective:
        line, rest = effective["USER"]
        yield from image.judge_user(f"{path}: {line!r}", rest)


def has_entry_point(path: Path) -> bool:
    """Return whether a Dockerfile names the program of its image, whatever it is called."""
    return "ENTRYPOINT" in _find_effective(path)


def _find_effective(path: Path) -> dict[str, tuple[str, str]]:
    """Return the ENTRYPOINT and USER of the last stage: the line, and what follows the word.

    The last of several counts, and a stage has those of the stage that it is built on.
    """
    stages: dict[str, dict[str, tuple[str, str]]] = {}
    current: dict[str, tuple[str, str]] = {}
    for line in map(str.strip, _read(path).splitlines()):
        instruction, _, rest = line.partition(" ")
        word = instruction.upper()
        if word == "FROM":
            base, *more = [part for part in rest.split() if not part.startswith("--")] or [""]
            current = dict(stages.get(base.lower(), {}))
            if len(more) == 2:  # AS NAME
                stages[more[1].lower()] = current
        elif word in ("ENTRYPOINT", "USER"):
            current[word] = (line, rest.strip())
    return current


def examine_project(path: Path, code: Path) -> Iterator[Finding]:
    """Examine whether a project's Dockerfile installs what the project's code lists."""
    text = _read(path)
    lists: list[str] = []
    with contextlib.suppress(UserError):  # which `source_code` reports
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
    yield from _examine_scripts(path, text)
    promised = [name for name in image_rules.LABELS if _is_promised(text, name)]
    if any(program.name == "serve" for program in found):
        yield from own_programs.examine_labels(str(path), promised, _list_code(path.parent))


def _examine_scripts(path: Path, text: str) -> Iterator[Finding]:
    """Examine the scripts of the entry point: the first part is started, others are read."""
    _, command = _find_effective(path).get("ENTRYPOINT", ("", "[]"))
    names = [Path(part).name for part in _parse_command(command)]
    for script in sorted(path.parent.rglob("*")):
        if script.name in own_programs.NAMES or script.name not in names or not script.is_file():
            continue
        if script.name == names[0]:
            yield from own_programs.examine([script], text)
        else:
            yield from own_programs.examine_script(script)


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
    command = None
    with contextlib.suppress(ValueError, RecursionError):
        command = json.loads(text)
    if isinstance(command, list) and all(isinstance(part, str) for part in command):
        return command
    return ["/bin/sh", "-c", text]
