"""What many messages name: commands, as the user types them in a checkout and with the package."""

from __future__ import annotations

import ast
import errno
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import byo
from container import errors
from local_test.cli import app, request_files
from tests.support import ROOT

SPELLED_OUT = re.compile(
    r"`byo |python -m (local_test|container) [a-z]"
    r"|`(up|down|env|init|doctor|purge|train|serve|runs|smoke)[ `]"
)
ALLOWED = re.compile(
    r"(usage: |^)python -m container (train|evaluate)"  # the image's own help
    r"|is the output of `python -m local_test|only `up`|of `up`|`python -m container.* generates"
    r"|`train` or `serve`|`train` and `serve`|the target `serve`"  # a container's arguments
    r"|the Dockerfile of `init`"
)


def test_a_command_has_the_name_of_its_program(monkeypatch: pytest.MonkeyPatch) -> None:
    assert errors.name_command("up --port 1") == "python -m local_test up --port 1"
    for name in byo.DEVELOPER_COMMANDS:
        assert errors.name_command(name) == f"python -m container {name}"
    monkeypatch.setattr(errors, "IS_PACKAGE", True)
    assert errors.name_command("up --port 1") == "byo up --port 1"
    assert errors.name_command("init") == "byo init"


def list_texts(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the line and text of each string of a module that is not a docstring."""
    statements = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Expr):
            statements.add(node.value)
        elif isinstance(node, ast.Constant) and node not in statements:
            yield node.lineno, str(node.value)


def test_no_message_spells_out_a_command_which_only_some_users_can_type() -> None:
    found = []
    for side in ("container", "local_test"):
        for path in sorted((ROOT / side).rglob("*.py")):
            if "templates" not in path.parts:
                found += [
                    f"{path.relative_to(ROOT)}:{line}: {text}"
                    for line, text in list_texts(path)
                    if SPELLED_OUT.search(ALLOWED.sub("", text))
                ]
    assert found == []


def refuse(act: Callable[[], object]) -> OSError:
    try:
        act()
    except OSError as error:
        return error
    raise AssertionError(act)


def test_what_the_system_refused_is_said_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    link = tmp_path / "link"
    link.symlink_to("nowhere")
    memory = Path("/proc/self/mem")
    for place, error, said in (
        (tmp_path, refuse(tmp_path.read_bytes), f"{tmp_path} is a folder; name a file"),
        (file / "x", refuse((file / "x").mkdir), f"{file} is a file; name a folder"),
        (file, refuse(file.mkdir), f"{file} is a file; name a folder"),
        (tmp_path, refuse(tmp_path.mkdir), f"{tmp_path}: File exists"),
        (link, refuse(link.mkdir), f"{link}: File exists"),
        (tmp_path, refuse((tmp_path / ("x" * 300)).mkdir), f"{tmp_path}: File name too long"),
        (memory, refuse(memory.read_bytes), f"{memory}: Input/output error"),
    ):
        assert errors.describe_refusal(place, error) == said
        error.filename = str(place)
        assert app._explain(error) == said  # noqa: SLF001 - what every command prints last
    with pytest.raises(errors.UserError, match="Input/output error"):
        request_files.read_bytes(memory)


def test_only_a_port_in_use_has_a_program_to_end() -> None:
    for number, is_named in ((errno.EADDRINUSE, True), (errno.EACCES, False)):
        said = errors.describe_port(80, OSError(number, os.strerror(number)))
        assert said.startswith(f"--port 80: the port cannot be used: {os.strerror(number)}; ")
        assert ("end the program" in said) == is_named
        assert said.endswith("choose another port")
