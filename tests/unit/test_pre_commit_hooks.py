"""The hook of pre-commit that other repositories use."""

import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

import byo
from container.developer import init
from tests.support import ROOT
from tests.unit.test_package import PROJECT

HOOKS: list[dict[str, Any]] = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
PAGE = (ROOT / "docs/delivery.md").read_text()


def test_the_page_shows_the_hooks_that_exist() -> None:
    assert [hook["id"] for hook in HOOKS] == ["byo-doctor"]
    assert "      - id: byo-doctor\n" in PAGE


@pytest.mark.parametrize(("is_sound", "code"), [(True, 0), (False, 1)])
def test_doctor_judges_the_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_sound: bool, code: int
) -> None:
    [hook] = HOOKS
    assert hook["pass_filenames"] is False
    init.write(tmp_path, "script")
    if not is_sound:
        (tmp_path / "code/train.py").write_text("def\n")
    program, *words = [*shlex.split(hook["entry"]), *hook["args"]]
    assert program in PROJECT["scripts"]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", [program, *words])
    assert byo.main() == code
