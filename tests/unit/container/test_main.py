"""The dispatch of the image's entry point, as a process."""

import subprocess
import sys
from pathlib import Path

import pytest


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "container", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_entry_point_without_a_command_shows_its_usage() -> None:
    result = run()

    assert result.returncode == 2
    assert "train | evaluate | serve" in result.stderr


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_entry_point_helps_on_standard_output(option: str) -> None:
    result = run(option)

    assert (result.returncode, result.stderr) == (0, "")
    assert "usage:" in result.stdout


def test_entry_point_becomes_a_foreign_command() -> None:
    """IMG-3."""
    result = run("sh", "-c", "echo $0 $1; exit 7", "a", "b c")

    assert (result.returncode, result.stdout) == (7, "a b c\n")


def test_entry_point_refuses_what_is_no_command() -> None:
    result = run("trian")

    assert result.returncode == 2
    assert result.stderr.startswith("'trian' is neither a command")
    assert result.stderr.endswith("; did you mean 'train'?\n")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("command", ["init", "doctor", "describe"])
def test_an_empty_path_is_refused_as_it_would_be_this_directory(command: str) -> None:
    result = run(command, "")

    assert result.returncode == 1
    assert result.stderr == f"{command}: a path is empty; name one, such as .\n"


def test_a_project_is_not_written_into_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    result = run("init", str(tmp_path / "file"))

    assert result.returncode == 1
    assert result.stderr == f"nothing was written: {tmp_path}/file is a file; name a folder\n"

    (tmp_path / "code").touch()
    result = run("init", str(tmp_path))
    assert result.stderr == f"nothing was written: {tmp_path}/code is a file; name a folder\n"
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["code", "file"]

    (tmp_path / "link").symlink_to("nowhere")
    result = run("init", str(tmp_path / "link"))
    assert result.stderr == f"nothing was written: {tmp_path}/link: File exists\n"
