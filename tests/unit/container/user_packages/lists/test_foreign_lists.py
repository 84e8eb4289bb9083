"""A list that is not installed is named with the way to one that is; a lock is checked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from container.errors import UserError
from container.user_packages import required_packages
from container.user_packages.job_environment import JobEnvironment
from container.user_packages.lists import requirement_files

WHEEL = '[[packages]]\nname = "a"\nversion = "1"\n[[packages.wheels]]\nurl = "https://e.com/a"\n'


@pytest.mark.parametrize(
    ("name", "text", "way"),
    [
        ("Pipfile", "", "pipenv requirements"),
        ("poetry.lock", "", "poetry export"),
        ("uv.lock", "version = 1", "uv export"),
        ("environment.yml", "", "the image has no conda"),
        ("conda.yaml", "", "the image has no conda"),
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
        ('packages = ["a"]', r"packages\[0\] is 'a'; a table is expected"),
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


@pytest.mark.parametrize(
    ("marker", "is_installed"),
    [
        ("'default' in dependency_groups", True),
        ("'dev' in dependency_groups", False),
        ("'dev' not in dependency_groups", True),
        ("'fast' in extras", False),
        ('"fast" not in extras and python_version > "3"', True),
        ("'dev' in dependency_groups or sys_platform == 'linux'", True),
    ],
)
def test_groups_of_a_lock_are_those_that_it_installs_by_default(
    tmp_path: Path, marker: str, is_installed: bool
) -> None:
    """PDM writes such markers, which pip does not know."""
    package = f"[[packages]]\nname = 'a'\nversion = '1'\nmarker = {json.dumps(marker)}\n"
    (tmp_path / "pylock.toml").write_text(f"default-groups = ['default']\n{package}")
    found = requirement_files.list_requirements(tmp_path, "pylock.toml")
    assert len(found) == is_installed
    for line in found:
        assert "dependency_groups" not in line.text
        assert "extras" not in line.text
        assert line.parse()


def test_a_locked_archive_is_installed_by_its_address_and_hash(tmp_path: Path) -> None:
    archive = "{ url = 'https://e.com/a.tar.gz', hashes = { sha256 = '0' } }"
    (tmp_path / "pylock.toml").write_text(f"[[packages]]\nname = 'a'\narchive = {archive}\n")
    (line,) = requirement_files.list_requirements(tmp_path, "pylock.toml")
    assert line.text == "a @ https://e.com/a.tar.gz --hash=sha256:0"


@pytest.mark.parametrize(
    "table",
    [
        "[tool.uv.sources]\nOur_Thing = { git = 'https://e.com/thing' }",
        "[tool.uv.sources]\nour-thing = [{ index = 'i' }, { path = '../thing' }]",
        "[tool.uv.sources]\nour-thing = { workspace = true }",
        "[tool.poetry.dependencies]\nour-thing = { git = 'https://e.com/thing' }",
    ],
)
def test_a_package_that_is_in_no_index_is_not_taken_from_one(tmp_path: Path, table: str) -> None:
    """Anybody may publish a package of its name."""
    project = f"[project]\nname = 'a'\ndependencies = ['numpy', 'our.thing>=1']\n{table}\n"
    (tmp_path / "pyproject.toml").write_text(project)
    environment = JobEnvironment(tmp_path)
    with pytest.raises(UserError, match=r"our\.thing \(.*write NAME @ URL into dependencies"):
        required_packages.plan_installation(tmp_path, {}, environment)
    (tmp_path / "wheels").mkdir()
    (tmp_path / "wheels/our_thing-1-py3-none-any.whl").touch()
    assert "--no-index" in required_packages.plan_installation(tmp_path, {}, environment)


def test_a_package_of_another_index_is_taken_from_the_configured_one(tmp_path: Path) -> None:
    table = "[tool.uv.sources]\nnumpy = { index = 'ours' }\nother = { git = 'https://e.com' }"
    project = f"[project]\nname = 'a'\ndependencies = ['numpy']\n{table}\n"
    (tmp_path / "pyproject.toml").write_text(project)
    assert requirement_files.list_elsewhere(tmp_path) == []


def test_what_is_locked_for_another_platform_is_left_out(tmp_path: Path) -> None:
    other = '[[packages]]\nname = "a"\nmarker = "sys_platform == \'win32\'"\nvcs = { url = "u" }'
    (tmp_path / "pylock.toml").write_text(other)
    assert requirement_files.list_requirements(tmp_path, "pylock.toml") == []
