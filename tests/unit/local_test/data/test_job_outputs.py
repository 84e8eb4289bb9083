"""Archives and failures of a container that has ended."""

from __future__ import annotations

import json
import os
import tarfile
from pathlib import Path

from container import contract
from local_test.data import job_outputs


def test_archives_merge_hosts_and_report_what_does_not_belong(tmp_path: Path) -> None:
    for host in ("algo-1", "algo-2"):
        (tmp_path / host / "sub").mkdir(parents=True)
        (tmp_path / host / "same").write_text(host)
        (tmp_path / host / "sub" / host).write_text(host)
    os.mkfifo(tmp_path / "algo-1/fifo")
    (tmp_path / "algo-2/link").symlink_to("same")

    roots = {host: tmp_path / host for host in ("algo-1", "algo-2")}
    findings = job_outputs.archive(roots, tmp_path / "x.tar.gz")

    with tarfile.open(tmp_path / "x.tar.gz") as tar:
        assert sorted(tar.getnames()) == ["link", "same", "sub", "sub/algo-1", "sub/algo-2"]
        assert tar.extractfile("same").read() == b"algo-1"  # type: ignore[union-attr]
    text = json.dumps(findings)
    assert "same was written by algo-1 and algo-2" in text  # OUT-5
    assert "fifo is a socket, FIFO or device" in text  # OUT-6
    assert "link is a symbolic link" in text


def test_a_failure_is_explained_by_file_note_or_exit_code(tmp_path: Path) -> None:
    layout = contract.Layout(tmp_path)
    assert job_outputs.read_failure(layout) == ""
    layout.failure.parent.mkdir(parents=True)
    layout.failure.write_text("x" * 2000)

    assert job_outputs.read_failure(layout) == "x" * 1024  # OUT-2
    assert "135 (bus error: /dev/shm is full" in job_outputs.explain_exit(135)  # IMG-16
    assert "136 (arithmetic error" in job_outputs.explain_exit(136)
    assert "126 (the entry point cannot be executed" in job_outputs.explain_exit(126)
    assert "137 (SIGKILL: out of memory" in job_outputs.explain_exit(137)  # OUT-12
    assert job_outputs.explain_exit(1, "a note").endswith("exit code: 1 (a note)")
    assert job_outputs.explain_exit(1).endswith("exit code: 1")
