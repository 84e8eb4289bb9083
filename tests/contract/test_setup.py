"""local_test/setup.sh: an environment of what a lock names."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.support import ROOT


def test_setup_installs_what_the_lock_names_and_looks_for_nothing_else(tmp_path: Path) -> None:
    """Resolving makes old pips refuse complete locks (docs/decisions.md, 2026-11-27)."""
    script = tmp_path / "a checkout/local_test/setup.sh"
    script.parent.mkdir(parents=True)
    shutil.copy(ROOT / "local_test/setup.sh", script)
    wheel = tmp_path / "thing-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as file:
        metadata = (
            "Metadata-Version: 2.1\nName: thing\nVersion: 1.0\n"
            "Requires-Dist: nowhere-to-be-found>=1\n"
        )
        file.writestr("thing.py", "")
        file.writestr("thing-1.0.dist-info/METADATA", metadata)
        file.writestr(
            "thing-1.0.dist-info/WHEEL",
            "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        file.writestr("thing-1.0.dist-info/RECORD", "")
    lock = tmp_path / "lock.txt"
    lock.write_text(
        f"thing @ {wheel.as_uri()} --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}\n"
    )

    done = subprocess.run([script, lock], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    subprocess.run([done.stdout.strip(), "-c", "import thing"], check=True)


@pytest.mark.parametrize("compiler", [None, "/bin/false", "cc"])
def test_setup_compiles_the_decoder_or_says_what_is_slow(
    tmp_path: Path, compiler: str | None
) -> None:
    checkout = tmp_path / "a checkout"
    without = shutil.ignore_patterns("*.so", "__pycache__")
    shutil.copytree(ROOT / "container", checkout / "container", ignore=without)
    (checkout / "local_test").mkdir()
    shutil.copy(ROOT / "local_test/setup.sh", checkout / "local_test")
    lock = tmp_path / "lock.txt"
    lock.write_text("")
    (checkout / ".venv/bin").mkdir(parents=True)
    shutil.copy(lock, checkout / f".venv/installed-{tmp_path.name}-lock.txt")
    python = checkout / ".venv/bin/python"
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("bash", "sh", "dirname", "basename", "realpath", "tail", "cmp"):
        (programs / name).symlink_to(str(shutil.which(name)))
    path = os.environ["PATH"] if compiler == "cc" else str(programs)

    done = subprocess.run(
        [checkout / "local_test/setup.sh", lock],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": path, "CC": compiler or ""},
    )

    library = checkout / "container/serving/bodies/librows.so"
    assert done.returncode == 0, done.stderr
    assert library.exists() == (compiler == "cc")
    assert ("half the rate" in done.stderr) == (compiler != "cc")
