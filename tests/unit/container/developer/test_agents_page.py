"""AGENTS.md of a new project: its commands exist, what it names is there, and it stays short."""

import re
from pathlib import Path

import pytest

from container import contract
from container.developer import init
from tests.support import ROOT
from tests.unit import byo_commands

OTHER_PROGRAMS = {"docker", "pytest"}


@pytest.mark.parametrize("kind", init.KINDS)
def test_its_commands_exist(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    init.write(tmp_path, kind)
    monkeypatch.chdir(tmp_path)
    page = (tmp_path / "AGENTS.md").read_text()
    blocks = re.findall(r"^```bash\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    commands = list(byo_commands.split_script("".join(blocks)))
    assert len(commands) >= 8
    for program, *words in commands:
        if program == "byo":
            byo_commands.check(words, monkeypatch)
        else:
            assert program in OTHER_PROGRAMS


def test_what_it_names_is_there(tmp_path: Path) -> None:
    init.write(tmp_path, "script")
    page = (tmp_path / "AGENTS.md").read_text()
    for name in ("code/", "data/", "request.csv", "tests/"):
        assert f"`{name}`" in page
        assert (tmp_path / name).exists()
    pages = re.findall(r"`([\w-]+\.md)`", page)
    assert len(pages) == 4
    assert [name for name in pages if not (ROOT / "docs" / name).exists()] == []


def test_its_contract_is_ten_lines_that_agree_with_ours(tmp_path: Path) -> None:
    init.write(tmp_path, "script")
    page = (tmp_path / "AGENTS.md").read_text()
    assert len(page.splitlines()) <= 60
    assert [int(number) for number in re.findall(r"^(\d+)\. ", page, re.MULTILINE)] == [
        *range(1, 11)
    ]
    assert f"within {contract.TRAINING_STOP_GRACE_S:.0f} seconds" in page
    assert "/opt/ml/model" in page
    assert "port 8080" in page
