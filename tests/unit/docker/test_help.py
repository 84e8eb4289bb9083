"""Every program of the checkout prints its help, and does nothing else, when it is asked for it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import ROOT

SCRIPTS = ("build_and_push.sh", *(f"docker/{path.name}" for path in ROOT.glob("docker/*.sh")))
PROGRAMS = ("bill_of_materials.py", "build_and_push.py", "make_environment.py")


def ask(*command: str | Path, cwd: Path = ROOT, **environ: str) -> str:
    done = subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        timeout=60,
        env={"PATH": os.environ["PATH"], "HOME": str(cwd), **environ},
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "Rules of this file" not in done.stdout
    return done.stdout


@pytest.mark.parametrize("flag", ["-h", "--help"])
@pytest.mark.parametrize("script", [*SCRIPTS, "local_test/setup.sh", "local_test/demo.sh"])
def test_a_script_prints_its_help(script: str, flag: str) -> None:
    assert "usage: " in ask(ROOT / script, flag)


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_prints_its_help(program: str) -> None:
    assert ask(sys.executable, ROOT / "docker" / program, "--help").startswith("usage: ")


@pytest.mark.parametrize("command", ["train", "serve"])
@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_a_job_or_server_does_not_start(command: str, flag: str, tmp_path: Path) -> None:
    printed = ask(
        *(sys.executable, "-m", "container", command, flag),
        SAGEMAKER_BASE_DIR=str(tmp_path),
        PYTHONPATH=str(ROOT),
    )

    assert printed.startswith("usage: python -m container")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "the following arguments are required: DPKG_STATUS, DIRECTORY"),
        (("status",), "the following arguments are required: DIRECTORY"),
        (("nowhere", "."), "DPKG_STATUS nowhere: no such file"),
        (("status", "nowhere"), "DIRECTORY nowhere: no such directory"),
    ],
)
def test_the_bill_of_materials_names_what_is_missing(
    arguments: tuple[str, ...], words: str, tmp_path: Path
) -> None:
    (tmp_path / "status").touch()
    done = subprocess.run(
        [sys.executable, str(ROOT / "docker/bill_of_materials.py"), *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )

    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr


LINUX_ONLY = re.compile(r"[^;\s]\}'|realpath -|readlink -f|\bmapfile\b|declare -A")
"""What the sed, realpath and bash 3.2 of macOS refuse."""


@pytest.mark.parametrize(
    "script", ["build_and_push.sh", "local_test/demo.sh", "local_test/setup.sh", "scripts/build"]
)
def test_a_script_of_users_runs_on_macos(script: str) -> None:
    assert not LINUX_ONLY.findall((ROOT / script).read_text(encoding="utf-8"))
