"""AGENTS.md: its commands can be run, its paths exist, and it stays short."""

import os
import re
import shlex

from tests.support import ROOT

PAGE = (ROOT / "AGENTS.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```bash\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
COMMANDS = [shlex.split(line, comments=True) for line in "".join(BLOCKS).splitlines()]
NAMED = re.findall(r"`([\w.]+/[\w./]*|[\w]+\.(?:md|py|toml))`", PAGE)
TOOLS = {".venv/bin/ruff": "ruff=="}


def test_commands_are_programs_of_this_repository() -> None:
    assert len(COMMANDS) >= 5
    for program, *arguments in COMMANDS:
        if program in TOOLS:
            locked = (ROOT / "tests/requirements.txt").read_text(encoding="utf-8")
            assert re.search(f"^{TOOLS[program]}", locked, re.MULTILINE), program
        else:
            assert os.access(ROOT / program, os.X_OK), program
        for argument in arguments:
            assert "/" not in argument or (ROOT / argument).exists(), argument


def test_it_sets_up_checks_and_tests() -> None:
    programs = {command[0] for command in COMMANDS}

    assert {f"scripts/{verb}" for verb in ("setup", "lint", "test", "image")} <= programs


def test_paths_exist() -> None:
    assert len(NAMED) >= 20
    assert [path for path in NAMED if not (ROOT / path).exists()] == []


def test_every_ring_of_tests_is_named() -> None:
    rings = {f"tests/{ring.name}" for ring in (ROOT / "tests").iterdir() if ring.is_dir()}

    assert rings - {"tests/__pycache__"} <= set(NAMED)


def test_it_is_short_and_leads_to_the_pages_that_explain() -> None:
    assert len(PAGE.splitlines()) <= 80
    assert "(CONTRIBUTING.md)" in PAGE
    assert "(docs/architecture.md)" in PAGE
