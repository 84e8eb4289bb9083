"""Why a file cannot be executed; tests/image has what a real engine reports."""

from __future__ import annotations

import os
import platform
import re
import stat
from pathlib import Path

import pytest

from container.errors import UserError
from local_test.runners import entry_points

HERE = {"x86_64": b"\x3e\x00", "aarch64": b"\xb7\x00"}.get(platform.machine(), b"\x00\x00")
ELF = b"\x7fELF\x02\x01\x01" + bytes(11)
FILES = [
    (b"#!/bin/sh\n", 0o644, "not executable; run chmod"),
    (b"#!/bin/sh\r\necho\r\n", 0o755, r"Windows line ends.*'/bin/sh\\r'"),
    (b"#!/usr/bin/env-python\r", 0o755, "Windows line ends"),
    (b"#!/no/interpreter -u\n", 0o755, "interpreter .* is missing: /no/interpreter -u"),
    (b"echo hello\n", 0o755, "lacks #!$"),
    (
        b"\xef\xbb\xbf#!/bin/sh\n",
        0o755,
        "begins with a byte order mark",
    ),
    (b"", 0o755, "lacks #!"),
    (ELF + b"\x28\x00", 0o755, "is for arm"),
    (ELF + HERE, 0o755, "damaged, or the loader"),
    (b"\x7fELF", 0o755, "another processor"),
]


@pytest.mark.parametrize(("head", "mode", "expected"), FILES)
def test_the_reason_is_found_in_the_file(
    tmp_path: Path, head: bytes, mode: int, expected: str
) -> None:
    program = tmp_path / "train"
    program.write_bytes(head)
    program.chmod(mode)
    with pytest.raises(OSError, match="train"):
        os.posix_spawn(program, [str(program)], {})

    reason = entry_points.explain_file("train", head, program.stat().st_mode)

    assert "entry point train" in reason
    assert re.search(expected, reason), reason


def test_a_directory_is_not_an_entry_point() -> None:
    assert "is a directory" in entry_points.explain_file("train", b"", stat.S_IFDIR | 0o755)


@pytest.mark.parametrize(("head", "mode", "expected"), FILES)
def test_a_program_of_this_machine_is_checked_before_it_starts(
    tmp_path: Path, head: bytes, mode: int, expected: str
) -> None:
    (tmp_path / "train").write_bytes(head)
    (tmp_path / "train").chmod(mode)
    if head.startswith(b"\x7fELF"):  # the system may know how to run it
        entry_points.check_program(["./train"], "/bin", tmp_path)
        return
    with pytest.raises(UserError, match=expected):
        entry_points.check_program(["./train"], "/bin", tmp_path)


def test_an_image_may_have_no_command(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no command was given"):
        entry_points.check_program([], "/bin", tmp_path)


def test_a_program_is_found_on_the_path_or_named(tmp_path: Path) -> None:
    entry_points.check_program(["sh"], "/usr/bin:/bin", tmp_path)
    for shebang in ("#!/bin/sh", "#! /bin/sh -e", "#!/usr/bin/env sh"):
        (tmp_path / "good").write_text(f"{shebang}\n")
        (tmp_path / "good").chmod(0o755)
        entry_points.check_program(["good"], str(tmp_path), Path("/"))
    with pytest.raises(UserError, match="'missing' is not an executable on PATH: /bin"):
        entry_points.check_program(["missing"], "/bin", tmp_path)
    (tmp_path / "directory").mkdir()
    with pytest.raises(UserError, match="is a directory"):
        entry_points.check_program(["directory"], "/bin", tmp_path)
