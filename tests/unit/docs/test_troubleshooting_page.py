"""docs/troubleshooting.md quotes our messages as the sources have them, and names commands."""

from __future__ import annotations

import ast
import re
from functools import cache

import pytest

from container.errors import UserError
from container.training import settings
from tests.support import ROOT

PAGE = (ROOT / "docs/troubleshooting.md").read_text(encoding="utf-8")
CELLS = re.compile(r"(?<!\\) \| ")
LINES = re.findall(r"^\| (.+) \|$", PAGE, re.MULTILINE)
ROWS = [cells for cells in map(CELLS.split, LINES) if len(cells) == 4 and cells[0][:4] != "what"]
SHORT = [cells[0].strip("`") for cells in map(CELLS.split, LINES) if len(cells) == 2][1:]
QUOTES = [quote for row in ROWS for quote in re.findall(r"`([^`]+)`", row[0]) if " " in quote]
OTHERS = {"docker", "podman", "env"}
"""Programs that find a cause, besides ours."""
FOREIGN = {
    "Can't get attribute 'X' on <module": "pickle",
    "No module named 'x'": "Python",
    "Permission denied": "the kernel",
    "bind source path does not exist": "Docker",
    "docker run": "a command",
    "exec format error": "the kernel",
    "no such file or directory": "the kernel",
    "slirp4netns failed": "Podman",
    "use -[v]S to pass options in shebang lines": "env",
    "without an active exception": "C++",
}
"""Messages of others, by who says them."""
COMPOSED = "learning_rate='fast': expected a number"
FILLED = "\0"
"""Stands for what a message fills in: a number, or a value in quotes."""


def blank(text: str) -> str:
    """Replace numbers and values in quotes, as a quote and its message differ there."""
    text = re.sub(r"b?'[^']*'|\b[0-9]+\b|%[sdr]", FILLED, text)
    return re.sub(f"{FILLED}+", FILLED, text)


@cache
def read_messages() -> tuple[str, ...]:
    """Return the strings of the sources, with `FILLED` for what f-strings fill in."""
    found = []
    for folder in ("container", "local_test", "docker"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.JoinedStr):
                    parts = [getattr(part, "value", FILLED) for part in node.values]
                    text = "".join(part if isinstance(part, str) else FILLED for part in parts)
                elif isinstance(node, ast.Constant) and isinstance(node.value, (str, bytes)):
                    is_text = isinstance(node.value, str)
                    text = node.value if is_text else node.value.decode("latin-1")
                else:
                    continue
                found.append(blank(text))
    return tuple(found)


def test_the_page_has_rows() -> None:
    assert len(ROWS) >= 55
    assert len(QUOTES) >= 40
    assert set(FOREIGN) <= set(QUOTES)


@pytest.mark.parametrize("quote", QUOTES)
def test_a_quoted_message_is_in_the_sources(quote: str) -> None:
    wanted = blank(quote).strip(f"{FILLED} ")

    assert quote in {*FOREIGN, COMPOSED} or any(wanted in text for text in read_messages())


def test_a_wrong_number_is_refused_in_the_quoted_words() -> None:
    assert COMPOSED in QUOTES
    with pytest.raises(UserError, match=re.escape(COMPOSED)):
        settings.parse({"learning_rate": "fast"})


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0][:60])
def test_a_row_has_one_message_and_the_command_that_finds_its_cause(row: list[str]) -> None:
    messages = [part for part in re.split("`, ", row[0]) if part]
    [command] = re.findall(r"`(\w+)[^`]*`", row[3])

    assert len(messages) == 1
    assert command in {*SHORT, *OTHERS}
    assert "conform" in SHORT
