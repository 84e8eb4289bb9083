"""Checks command lines that documents, workflows and projects name, without running jobs."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import typer

import byo
from local_test.cli import app

_SEPARATORS = {"|", "&&", "||", ";"}
_GROUP = typer.main.get_command(app.assemble())


def split_script(script: str) -> Iterator[list[str]]:
    """Yield the words of each command of a shell script, without redirections and assignments."""
    for line in script.replace("\\\n", " ").splitlines():
        assigned = re.sub(r"^\s*\w+=\$\((.*)\)\s*$", r"\1", line)
        words = shlex.split(assigned, comments=True)
        command: list[str] = []
        for word in [*words, ";"]:
            if word not in _SEPARATORS:
                command.append(word)
            elif command:
                yield command[: command.index(">")] if ">" in command else command
                command = []


def check(words: Sequence[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Parse a command line of `byo`; what only examines the current folder is run.

    Raises: click's error, whose text says what the command line lacks.
    """
    name, *arguments = words
    if name in byo.DEVELOPER_COMMANDS:
        monkeypatch.setattr("sys.argv", ["byo", name, *arguments])
        assert byo.main() == 0, words
        return
    command: Any = _GROUP
    rest = list(words)
    while rest and hasattr(command, "commands"):
        name = rest.pop(0)
        assert name in command.commands, f"byo has no command {name!r}: {words}"
        command = command.commands[name]
    command.make_context(name, rest)
