"""Examines `train` and `serve`, the programs that the platform starts, and scripts around them."""

import codecs
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from container import contract
from container.developer.doctor import shell_scripts
from container.developer.doctor.finding import Finding

NAMES: Final = ("train", "serve")
_DEPTH: Final = 3
_READ_BYTES: Final = 1 << 16
_SKIPPED: Final = frozenset({"__pycache__", "node_modules", "venv", "site-packages", "test"})
_SHELL: Final = re.compile(rb"#!.*\b(sh|bash|dash|ash)\b")
# What only returns or sets something does not have to be replaced by `exec`.
_BUILT_IN: Final = re.compile(
    r"(exec|exit|return|set|trap|wait|export|cd|echo|printf|test|\[|:|done|\}|\w+=)(\W|$)"
)
_PROMISES: Final = {
    contract.MULTI_MODEL_LABEL: (rb"/models\b|multi.model|MULTI_MODEL", "a route /models"),
    contract.BIND_TO_PORT_LABEL: (rb"SAGEMAKER_BIND_TO_PORT", "SAGEMAKER_BIND_TO_PORT"),
    contract.BIDIRECTIONAL_LABEL: (
        rb"(?i)bidirectional-stream|websocket|stream_fn",
        f"a WebSocket at {contract.BIDIRECTIONAL_PATH}",
    ),
}
_TWO_WORDS: Final = re.compile(rb"#![ \t]*\S*/env[ \t]+[^-\s]\S*[ \t]+\S")


def list_programs(directory: Path) -> list[Path]:
    """List the files called `train` or `serve`, as AWS's sample puts them, in a few levels."""
    found = []
    for depth in range(_DEPTH):
        for path in directory.glob("/".join(["*"] * depth + ["[ts]*"])):
            parts = path.relative_to(directory).parts
            is_skipped = any(part in _SKIPPED or part.startswith(".") for part in parts)
            if path.name in NAMES and path.is_file() and not is_skipped:
                found.append(path)
    return sorted(found)


def examine(programs: Iterable[Path], dockerfile_text: str = "") -> Iterator[Finding]:
    """Examine programs that have no suffix, and are started by their names (IMG-1, IMG-13)."""
    for path in programs:
        head = _read(path)
        yield from _examine_line_ends(path, head)
        if head.startswith(codecs.BOM_UTF8):
            text = f"{path} begins with a byte order mark, so its #! line is not read"
            yield Finding("error", f"{text}; save it as UTF-8 without it [IMG-13]")
        elif not head.startswith((b"#!", b"\x7fELF")):
            text = f"{path} does not begin with #! and an interpreter: exec format error"
            yield Finding("error", f"{text}; add a line such as #!/usr/bin/env python3 [IMG-13]")
        elif head.startswith(b"\x7fELF") and head[18:20] != b"\x3e\x00":
            text = f"{path} is built for another processor than x86_64"
            yield Finding("warning", f"{text}; build it for linux/amd64 [IMG-8]")
        elif _TWO_WORDS.match(head):
            text = f"{path} asks env for one program of several words, which does not exist"
            yield Finding("error", f"{text}; write #!/usr/bin/env -S before them [IMG-13]")
        if not os.access(path, os.X_OK) and not _sets_mode(dockerfile_text, path.name):
            text = f"{path} is not executable: it cannot be started as `{path.name}`"
            yield Finding("error", f"{text}; run chmod +x {path}, and commit it [IMG-13]")
        yield from examine_wrapper(path)


def _examine_line_ends(path: Path, head: bytes) -> Iterator[Finding]:
    if head.partition(b"\n")[0].endswith(b"\r") or (_SHELL.match(head) and b"\r" in head):
        text = f"{path} has Windows line ends: its interpreter or a command is not found"
        yield Finding("error", f"{text}; save it with LF line ends [IMG-13, TRIP-2]")


def _sets_mode(dockerfile_text: str, name: str) -> bool:
    """Return whether a Dockerfile makes a file executable: by its name, or many files at once."""
    if "--chmod=" in dockerfile_text:
        return True
    commands = re.findall(r"\bchmod\b[^\n;&|]*", dockerfile_text)
    many = re.compile(r"[*?$]|\{\}|\s-\w*R|/(\s|$)")
    return any(name in command or many.search(command) for command in commands)


def examine_script(path: Path) -> Iterator[Finding]:
    """Examine a script that an interpreter is given: its mode and first line do not matter."""
    head = _read(path)
    if _SHELL.match(head.removeprefix(codecs.BOM_UTF8)):
        yield from _examine_line_ends(path, head)
    yield from examine_wrapper(path)


def examine_wrapper(path: Path) -> Iterator[Finding]:
    """Examine whether a shell script ends with `exec`, so that its program gets SIGTERM."""
    content = _read(path)
    if not _SHELL.match(content.removeprefix(codecs.BOM_UTF8)):
        return
    joined = re.sub(rb"\\\r?\n", b" ", content)
    if b"trap " in joined:
        return
    for command in shell_scripts.list_last_commands(joined.decode(errors="replace")):
        if not _BUILT_IN.match(command):
            text = f"{path} is a shell script that stays in front of its program, so SIGTERM is "
            text += f"lost; write `exec {command[:80]}`"
            yield Finding("warning", f"{text} [IMG-4, OUT-8]")
            return


def examine_labels(place: str, labels: Iterable[str], code: Iterable[Path]) -> Iterator[Finding]:
    """Examine whether any of the files in `code` has what the labels of an image promise."""
    files = list(code)
    for label in labels:
        pattern, sign = _PROMISES[label]
        if not any(re.search(pattern, _read(path)) for path in files):
            text = f"{place} has the label {label}=true, but none of its programs mentions {sign}"
            yield Finding("warning", f"{text}: remove the label, or try it with conform [IMG-12]")


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            return stream.read(_READ_BYTES)
    except OSError:
        return b""
