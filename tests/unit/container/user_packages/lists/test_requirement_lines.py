"""A list of requirements is read as pip reads it."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

import pytest

from container.errors import UserError
from container.user_packages import required_packages
from container.user_packages.job_environment import JobEnvironment
from container.user_packages.lists import requirement_files, requirement_lines

FLASK = f"flask==0.0.1 against flask {metadata.version('flask')}"


def write(directory: Path, text: str | bytes, **others: str) -> Path:
    content = text if isinstance(text, bytes) else text.encode()
    (directory / "requirements.txt").write_bytes(content)
    for name, listed in others.items():
        (directory / f"{name}.txt").write_text(listed)
    return directory


def plan(code: Path) -> list[str]:
    return required_packages.plan_installation(code, {"PATH": ""}, JobEnvironment(code))


@pytest.mark.parametrize(
    "option",
    ["-r other.txt", "-rother.txt", "--requirement=other.txt", "--requirement 'other.txt'"],
)
def test_a_named_list_is_read(tmp_path: Path, option: str) -> None:
    code = write(tmp_path, f"{option}  # more\n", other="-r third.txt", third="flask==0.0.1")
    assert required_packages.list_differences(code) == [FLASK]


@pytest.mark.parametrize("option", ["-c", "--constraint "])
def test_a_constraint_counts_for_what_is_asked_for(tmp_path: Path, option: str) -> None:
    limits = "flask==0.0.1\nnumpy==0.1\nthing @ git+https://example.com/thing\n"
    code = write(tmp_path, f"Flask\n{option}limits.txt\n", limits=limits)
    assert required_packages.list_differences(code) == [FLASK]
    plan(code)


def test_the_same_list_may_be_named_twice(tmp_path: Path) -> None:
    code = write(tmp_path, "-r a.txt\n-r b.txt\n", a="-r c.txt", b="-r c.txt", c="numpy")
    found = requirement_lines.read(code / "requirements.txt")
    assert [line.text for line in found] == ["numpy", "numpy"]


def test_what_is_named_by_a_url_is_left_to_pip(tmp_path: Path) -> None:
    code = write(tmp_path, "-r https://example.com/other.txt\n--index-url https://x\n-r\n")
    assert requirement_lines.read(code / "requirements.txt") == []


def test_a_list_that_is_missing_is_named_with_the_one_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"other.txt, named in .*requirements.txt, cannot be read"):
        plan(write(tmp_path, "-r other.txt\n"))


def test_lists_that_name_each_other_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"other.txt names .*requirements.txt, which leads to it"):
        plan(write(tmp_path, "-r other.txt\n", other="-r requirements.txt"))


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_a_byte_order_mark_tells_the_encoding(tmp_path: Path, encoding: str) -> None:
    code = write(tmp_path, "flask==0.0.1\r\n".encode(encoding))
    assert required_packages.list_differences(code) == [FLASK]


def test_big_endian_text_is_read(tmp_path: Path) -> None:
    code = write(tmp_path, "\ufeffflask==0.0.1".encode("utf-16-be"))
    assert required_packages.list_differences(code) == [FLASK]


def test_text_that_its_mark_does_not_fit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"requirements.txt cannot be read: .*truncated"):
        plan(write(tmp_path, b"\xff\xfea"))


@pytest.mark.parametrize(
    ("line", "program"),
    [
        ("-e git+https://example.com/thing.git#egg=thing", "git"),
        ("--editable=git+ssh://git@example.com/thing.git", "git"),
        ("git+file:///srv/thing", "git"),
        ("thing @ hg+https://example.com/thing", "hg"),
        ("-e svn+ssh://example.com/thing#egg=thing", "svn"),
        ("thing[extra]@bzr+https://example.com/thing", "bzr"),
        ("-r other.txt", "git"),
    ],
)
def test_any_repository_needs_its_program(tmp_path: Path, line: str, program: str) -> None:
    code = write(tmp_path, f"{line}\n", other="thing @ git+https://example.com/thing")
    with pytest.raises(UserError, match=f"this image has no {program}; name an archive"):
        plan(code)


def test_a_repository_behind_ssh_needs_ssh(tmp_path: Path) -> None:
    git = tmp_path / "git"
    git.touch(0o755)
    code = write(tmp_path, "thing @ git+ssh://git@example.com/thing.git\n")
    with pytest.raises(UserError, match="this image has no ssh"):
        required_packages.plan_installation(code, {"PATH": str(tmp_path)}, JobEnvironment(code))


@pytest.mark.parametrize(
    "requirement",
    ["flask==0.0.1", "thing @ git+https://e.com/t", "git+https://e.com/t"],
)
@pytest.mark.parametrize("marker", ["python_version < '3'", 'extra == "gpu"'])
def test_what_a_marker_excludes_here_is_left_out(
    tmp_path: Path, requirement: str, marker: str
) -> None:
    code = write(tmp_path, f"{requirement} ; {marker}\n")
    plan(code)
    assert required_packages.list_differences(code) == []


def test_a_marker_that_holds_excludes_nothing(tmp_path: Path) -> None:
    code = write(tmp_path, "flask==0.0.1; python_version >= '3'\n")
    assert required_packages.list_differences(code) == [FLASK]


def test_every_program_that_pip_missed_is_named(tmp_path: Path) -> None:
    code = write(tmp_path, "numpy\n")
    output = "ERROR: Cannot find command 'hg' - do you have 'hg' installed and in your PATH?"
    assert "this image has no hg" in required_packages.explain_failure(code, {}, output)


def test_dependencies_that_are_not_a_list_are_refused(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "x"\ndependencies = "numpy"\n')
    with pytest.raises(UserError, match="dependencies is 'numpy'; an array is expected"):
        requirement_files.list_requirements(tmp_path, "pyproject.toml")
