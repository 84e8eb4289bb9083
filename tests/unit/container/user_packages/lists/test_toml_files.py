"""A damaged list of packages is a sentence that names the file and the value, never a traceback."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from container.developer.doctor import command
from container.errors import UserError
from container.user_packages import required_packages
from container.user_packages.job_environment import JobEnvironment
from container.user_packages.lists import encoded_text, locks, requirement_files, toml_files

VALUES = (
    "5",
    "true",
    '"text"',
    "1979-05-27",
    "[5]",
    '["text"]',
    "[[]]",
    "[{}]",
    "{ a = 5 }",
    "[{ name = 5 }]",
    "[{ name = 'a' }]",
    "[{ version = '1', source = { registry = 'u' } }]",
    "[{ name = 'a', version = 1, source = { registry = 'u' } }]",
    "[{ name = 'a', version = '1', source = 5 }]",
    "[{ name = 'a', version = '1', source = { registry = 'u' }, resolution-markers = [5] }]",
    "[{ name = 'a', version = '1', marker = 5 }]",
    "[{ name = 'a', version = '1', marker = 'python_version ~~ 3' }]",
    "[{ name = 'a', version = '1', wheels = 5 }]",
    "[{ name = 'a', version = '1', wheels = [5] }]",
    "[{ name = 'a', version = '1', wheels = [{ hashes = 5 }] }]",
    "[{ name = 'a', version = '1', sdist = [] }]",
    "[{ name = 'a', archive = 5 }]",
    "[{ name = 'a', archive = { url = 5 } }]",
)
KEYS = {
    "uv.lock": ("package = {}",),
    "pylock.toml": ("packages = {}", "default-groups = {}"),
    "pyproject.toml": (
        "project = {}",
        "project = {{ dependencies = {} }}",
        "project = {{ dynamic = {} }}",
        "tool = {}",
        "tool = {{ poetry = {} }}",
        "tool = {{ poetry = {{ dependencies = {} }} }}",
        "tool = {{ uv = {{ sources = {} }} }}",
    ),
}
CONTENTS = (
    b"",
    b"not = [toml\n",
    b"\xff",
    b"\0",
    'a = "\u00e9"'.encode("latin-1"),
    b"a = " + b"[" * 5000,
    b"a = 1\r\n",
)


def use(code: Path) -> list[str]:
    """Do with lists what training, serving and `doctor` do; return the faults that they found."""
    environment = JobEnvironment(code.parent / "environment")
    environment.directory.mkdir()
    uses: list[Callable[[], object]] = [
        lambda: required_packages.plan_installation(code, {"PATH": ""}, environment),
        lambda: required_packages.list_differences(code),
        lambda: requirement_files.list_foreign(code),
        lambda: requirement_files.check(code),
        lambda: requirement_files.has_project(code),
    ]
    faults = []
    for each in uses:
        try:
            each()
        except UserError as error:
            faults.append(str(error))
    command.examine(code.parent)
    return faults


@pytest.mark.parametrize("name", KEYS)
def test_no_value_of_the_wrong_type_is_a_traceback(tmp_path: Path, name: str) -> None:
    refused = 0
    values = VALUES if name.endswith("lock") or "pylock" in name else VALUES[:9]
    for key in KEYS[name]:
        for value in values:
            code = tmp_path / str(len(list(tmp_path.iterdir()))) / "code"
            code.mkdir(parents=True)
            (code / name).write_text(key.format(value))
            faults = use(code)
            assert all(name in fault for fault in faults)
            refused += bool(faults)
    assert refused > len(values) / 2


@pytest.mark.parametrize("name", [*KEYS, "requirements.txt", "setup.py", "Pipfile"])
@pytest.mark.parametrize("content", CONTENTS)
def test_no_damaged_file_is_a_traceback(tmp_path: Path, name: str, content: bytes) -> None:
    code = tmp_path / "code"
    code.mkdir()
    (code / name).write_bytes(content)
    faults = use(code)
    assert all(name in fault for fault in faults)
    assert name in KEYS or not faults


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (
            "[[package]]\nversion = '1'\nsource = { registry = 'u' }",
            r"package\[0\] \(a package\) has no name or no version; write it again, by uv lock",
        ),
        ("package = 5", "package is 5; an array is expected"),
        ("[[package]]\nsource = 5", r"package\[0\].source is 5; a table is expected"),
        ("a = " + "[" * 5000, "nested too deep"),
    ],
)
def test_a_fault_of_a_lock_names_its_place(tmp_path: Path, text: str, fault: str) -> None:
    (tmp_path / "uv.lock").write_text(text)
    with pytest.raises(UserError, match=rf"uv\.lock cannot be read: .*{fault}"):
        locks.list_pins(tmp_path)


@pytest.mark.parametrize(
    "name", ["requirements.txt", "lib/requirements.txt", "pylock.toml", "pyproject.toml", "uv.lock"]
)
@pytest.mark.parametrize("found", ["a directory", "a link to nothing", "something else"])
def test_what_is_no_file_is_not_passed_over(tmp_path: Path, name: str, found: str) -> None:
    path = tmp_path / "code" / name
    path.parent.mkdir(parents=True)
    if found == "a directory":
        path.mkdir()
    elif found == "a link to nothing":
        path.symlink_to("nowhere")
    else:
        os.mkfifo(path)
    faults = use(tmp_path / "code")
    assert faults
    assert all(f"{name} is {found}; a file is expected" in fault for fault in faults)


def test_a_list_that_leads_to_itself_by_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("-r loop.txt\n")
    (tmp_path / "loop.txt").symlink_to("loop.txt")
    with pytest.raises(UserError, match=r"loop\.txt, named in .*requirements.txt, cannot be read"):
        requirement_files.check(tmp_path)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_toml_is_read_in_the_encoding_of_its_mark(tmp_path: Path, encoding: str) -> None:
    """As PowerShell writes it, when a lock is redirected into a file."""
    (tmp_path / "a.toml").write_bytes("text = 'é'\n".encode(encoding))
    assert toml_files.read(tmp_path / "a.toml").text("text") == "é"


def test_a_list_of_any_length_is_not_held_in_memory(tmp_path: Path) -> None:
    with (tmp_path / "requirements.txt").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(ValueError, match="longer than 64 MiB"):
        encoded_text.read_text(tmp_path / "requirements.txt")
    with pytest.raises(UserError, match=r"requirements\.txt cannot be read: it is longer"):
        requirement_files.check(tmp_path)
