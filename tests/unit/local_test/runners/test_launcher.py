"""The variables of a program that plays the container."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace

import pytest

from local_test.runners import launcher, process
from local_test.runners.interface import Launch
from local_test.runners.launcher import make_environment


def make(variables: Mapping[str, str]) -> dict[str, str]:
    return make_environment(Launch("algo-1", ("train",), Path("job"), variables))


def test_packages_are_downloaded_once_for_all_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program's HOME is empty, so pip would begin with an empty cache."""
    monkeypatch.delenv("PIP_CACHE_DIR", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", "/home/me")
    assert make({})["PIP_CACHE_DIR"] == "/home/me/.cache/pip"
    monkeypatch.setenv("XDG_CACHE_HOME", "/cache")
    assert make({})["PIP_CACHE_DIR"] == "/cache/pip"
    monkeypatch.setenv("PIP_CACHE_DIR", "/cache/of/pip")
    assert make({})["PIP_CACHE_DIR"] == "/cache/of/pip"
    assert make({"PIP_CACHE_DIR": "/job"})["PIP_CACHE_DIR"] == "/job"


def test_other_variables_of_this_shell_are_not_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "https://mine")
    assert "PIP_INDEX_URL" not in make({})
    assert make({"PIP_INDEX_URL": "https://its"})["PIP_INDEX_URL"] == "https://its"


def run(launch: Launch) -> str:
    output: list[bytes] = []
    container = process.ProcessRunner(["true"], is_private=False).start(launch, output.append)
    container.wait()
    container.remove()
    return b"".join(output).decode()


def test_a_job_that_cannot_be_isolated_says_so(tmp_path: Path) -> None:
    assert run(Launch("algo-1", ("train",), tmp_path, {})) == ""
    said = run(Launch("algo-1", ("train",), tmp_path, {}, is_isolated=True))

    assert "this program is not isolated and reaches the network" in said


def test_a_server_that_others_reach_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on macOS, which cannot bind to a device what a program listens on."""
    system = SimpleNamespace(platform="darwin", executable=sys.executable)
    for module in (process, launcher):
        monkeypatch.setattr(module, "sys", system)

    said = run(Launch("algo-1", ("serve",), tmp_path, {}, is_server=True))

    assert "other machines may reach the ports of this program" in said
