"""local_test/setup.sh: an environment of what a lock names."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import zipfile
from pathlib import Path

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
