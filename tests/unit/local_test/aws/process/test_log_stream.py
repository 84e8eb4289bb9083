"""The local AWS's own log on a full disk."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.support import ROOT

PROGRAM = """
import resource, sys
from local_test.aws.process import log_stream
log_stream.install()
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
print("before")
resource.setrlimit(resource.RLIMIT_FSIZE, (10, hard))
print("lost, " * 10)
sys.stderr.write("lost\\n")
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
print("after")
"""


def test_a_full_disk_under_the_log_is_survived_and_reported(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with log.open("ab") as file:
        subprocess.run(
            [sys.executable, "-c", PROGRAM], cwd=ROOT, stdout=file, stderr=file, check=True
        )
    lines = log.read_text().splitlines()
    assert lines[0] == "before"
    assert "bytes of this log are missing: the disk was full]" in lines[1]
    assert lines[2] == "after"
