"""What a project lists is installed into the environment of its image."""

from __future__ import annotations

import hashlib
import os
import subprocess
from importlib import metadata
from pathlib import Path

import pytest

from container.developer import install
from container.user_packages import job_environment
from tests.contract.training_job import make_wheel
from tests.support import ROOT

LOCK = """
lock-version = "1.0"
created-by = "test"
[[packages]]
name = "byo-fixture-wheel"
version = "1.0"
wheels = [{{ name = "{name}", path = "wheels/{name}", hashes = {{ sha256 = "{digest}" }} }}]
"""


def test_a_lock_is_installed_for_every_program_of_the_environment(tmp_path: Path) -> None:
    python = job_environment.make(tmp_path / "image").python
    code = tmp_path / "code"
    make_wheel(code / "wheels", "byo_fixture_wheel")
    make_wheel(code / "wheels", "byo_fixture_wheel", "2.0")
    locked = code / "wheels/byo_fixture_wheel-1.0-py3-none-any.whl"
    digest = hashlib.sha256(locked.read_bytes()).hexdigest()
    (code / "pylock.toml").write_text(LOCK.format(name=locked.name, digest=digest))
    environ = os.environ | {"PYTHONPATH": str(ROOT)}

    command = [python, "-m", "container.developer.install", str(code)]
    subprocess.run(command, env=environ, check=True, capture_output=True)

    ask = "from importlib import metadata; print(metadata.version('byo-fixture-wheel'))"
    said = subprocess.run([python, "-c", ask], capture_output=True, text=True, check=True)
    assert said.stdout == "1.0\n"
    assert sorted(path.name for path in code.iterdir()) == ["pylock.toml", "wheels"]


def test_a_version_other_than_ours_is_a_conflict_that_names_both(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    (tmp_path / "requirements.txt").write_text("flask==0.0.1\n")
    assert install.main([str(tmp_path)]) != 0
    assert f"flask==0.0.1 against flask {metadata.version('flask')}" in capfd.readouterr().err


def test_code_without_lists_needs_nothing_and_a_missing_one_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert install.main([str(tmp_path)]) == 0
    assert install.main([str(tmp_path / "none")]) == 1
    assert "is not a directory" in capsys.readouterr().err
