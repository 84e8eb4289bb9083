"""The dispatch of the image's entry point, as a process."""

import subprocess
import sys

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
