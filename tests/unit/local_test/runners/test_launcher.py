"""The variables of a program that plays the container."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

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
