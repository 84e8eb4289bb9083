"""Which packages are installed, and in which version."""

from pathlib import Path

import pytest

from container.user_packages import versions


def install(directory: Path, version: str) -> Path:
    place = directory / "a-1.dist-info"
    place.mkdir(parents=True)
    (place / "METADATA").write_text(f"Metadata-Version: 2.1\nName: A\nVersion: {version}\n\nText")
    return directory


def test_every_form_of_metadata_is_read(tmp_path: Path) -> None:
    install(tmp_path, "1.0")
    (tmp_path / "b-2.egg-info").mkdir()
    (tmp_path / "b-2.egg-info/PKG-INFO").write_text("Name: b\nVersion: 2\n")
    (tmp_path / "c-3.egg-info").write_text("Name: c\nVersion: 3\n")  # as distutils wrote it
    (tmp_path / "d-4.dist-info").mkdir()
    assert sorted(versions.list_installed([str(tmp_path)])) == [
        ("A", "1.0"),
        ("b", "2"),
        ("c", "3"),
    ]


def test_the_version_that_python_finds_first_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = install(tmp_path / "1", "1.0"), install(tmp_path / "2", "2.0")
    monkeypatch.setattr(versions.sys, "path", [str(first), str(second)])
    assert versions.describe()["a"] == "1.0"
    assert versions.describe(second)["a"] == "2.0"
