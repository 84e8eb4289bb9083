"""What a failed job may leave in the place of its failure file."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from local_test.conformance.sessions import job_end_checks


def link_to(target: Path) -> Callable[[Path], None]:
    return lambda path: path.symlink_to(target)


def judge(directory: Path) -> dict[str, tuple[object, str]]:
    trial = SimpleNamespace(
        is_good=False,
        evidence="exit code 1",
        result=SimpleNamespace(directory=directory),
        seconds_after=lambda _: None,
    )
    subject = SimpleNamespace(train=lambda *_: trial)
    verdicts = job_end_checks.check_failure(subject)  # type: ignore[arg-type]
    return {verdict.check.id: (verdict.outcome, verdict.evidence) for verdict in verdicts}


@pytest.mark.parametrize("kind", ["link", "fifo", "linked directory"])
def test_a_failure_that_is_no_file_is_not_read(kind: str, tmp_path: Path) -> None:
    secret = tmp_path / "elsewhere/failure"
    secret.parent.mkdir()
    secret.write_text("a secret of this machine")
    host = tmp_path / "job/hosts/algo-1"
    host.mkdir(parents=True)
    if kind == "linked directory":
        (host / "output").symlink_to(secret.parent)
    else:
        (host / "output").mkdir()
    if kind == "link":
        (host / "output/failure").symlink_to(secret)
    if kind == "fifo":
        os.mkfifo(host / "output/failure")

    found = judge(tmp_path / "job")

    assert "secret" not in str(found)
    assert found["OUT-2a"][0] == "fail"
    assert "not" in found["OUT-2a"][1]


def test_a_failure_file_is_judged_by_its_beginning(tmp_path: Path) -> None:
    (tmp_path / "hosts/algo-1/output").mkdir(parents=True)
    (tmp_path / "hosts/algo-1/output/failure").write_text("no data in channel training")
    found = judge(tmp_path)
    assert found["OUT-2a"] == ("pass", "output/failure begins 'no data in channel training'")
    assert found["OUT-2b"][0] == "pass"
