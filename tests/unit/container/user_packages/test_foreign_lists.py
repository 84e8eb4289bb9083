"""A list that is not installed is named with the way to one that is; a lock is checked."""

from __future__ import annotations

from pathlib import Path

import pytest

from container.errors import UserError
from container.user_packages import requirement_files

WHEEL = '[[packages]]\nname = "a"\nversion = "1"\n[[packages.wheels]]\nurl = "https://e.com/a"\n'


@pytest.mark.parametrize(
    ("name", "text", "way"),
    [
        ("Pipfile", "", "pipenv requirements"),
        ("poetry.lock", "", "poetry export"),
        ("uv.lock", "version = 1", "uv export"),
        ("environment.yml", "", "conda is not in the image"),
        ("conda.yaml", "", "conda is not in the image"),
        ("requirements.in", "numpy", "uv pip compile requirements.in"),
        ("requirements-gpu.txt", "numpy", "-r requirements-gpu.txt"),
        ("requirements/base.txt", "numpy", "-r requirements/base.txt"),
        ("pylock.gpu.toml", "", "rename it"),
        ("setup.py", "setup(install_requires=['numpy'])", "uv pip compile setup.py"),
        ("pyproject.toml", "[project]\ndynamic = ['dependencies']", "uv pip compile pyproject"),
        ("pyproject.toml", "[tool.poetry.dependencies]\nnumpy = '*'", "poetry export"),
    ],
)
def test_a_list_that_is_not_installed_is_named(
    tmp_path: Path, name: str, text: str, way: str
) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    (sentence,) = requirement_files.list_foreign(tmp_path)
    assert sentence.startswith(name)
    assert "is not installed; " in sentence
    assert way in sentence
    (tmp_path / "requirements.txt").write_text("numpy")
    assert requirement_files.list_foreign(tmp_path) == []


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (WHEEL, "a file of a==1 has no hash .*none found"),
        (f'{WHEEL}hashes = {{ md5 = "0" }}', "md5 found"),
        ('packages = ["a"]', "packages is not an array of tables"),
        ('[[packages]]\nname = "a"\n', "has no name or no version"),
        ('[[packages]]\nname = "a"\narchive = { path = "a.tar.gz" }', "a directory or a file"),
    ],
)
def test_a_lock_that_cannot_be_used_is_refused(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "pylock.toml").write_text(text)
    with pytest.raises(UserError, match=reason):
        requirement_files.list_requirements(tmp_path, "pylock.toml")


def test_hashes_of_other_algorithms_are_used(tmp_path: Path) -> None:
    (tmp_path / "pylock.toml").write_text(f'{WHEEL}hashes = {{ sha512 = "0" }}')
    (line,) = requirement_files.list_requirements(tmp_path, "pylock.toml")
    assert line.text == "a==1 --hash=sha512:0"


def test_what_is_locked_for_another_platform_is_left_out(tmp_path: Path) -> None:
    other = '[[packages]]\nname = "a"\nmarker = "sys_platform == \'win32\'"\nvcs = { url = "u" }'
    (tmp_path / "pylock.toml").write_text(other)
    assert requirement_files.list_requirements(tmp_path, "pylock.toml") == []
