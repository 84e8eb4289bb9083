"""What `conform` finds in a third-party container: a decision tree, Flask behind gunicorn."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Collection
from pathlib import Path

import pytest

from local_test.conformance import run as conformance
from local_test.conformance.catalog import CHECKS, Verdict
from local_test.conformance.subject import Subject, Waits
from local_test.runners.launcher import has_namespaces
from local_test.runners.process import ProcessRunner
from tests.support import PROGRAMS

pytestmark = pytest.mark.skipif(
    not has_namespaces(), reason="the program wants its files at /opt/ml"
)
PROGRAM = [sys.executable, str(PROGRAMS / "tree.py")]


def judge(
    directory: Path, command: list[str], identities: Collection[str], start_s: float = 120
) -> dict[str, Verdict]:
    (directory / "data").mkdir()
    rows = [
        f"{kind},{kind + 0.1 * number:.1f},{2 * kind - 0.1 * number:.1f}\n"
        for kind in range(3)
        for number in range(9)
    ]
    (directory / "data/flowers.csv").write_text("".join(rows))
    subject = Subject(
        runner=ProcessRunner(command),
        directory=directory / "work",
        channels={"training": str(directory / "data")},
        hyperparameters={"max_leaf_nodes": "5"},
        body=b"1.0,2.0\n",
        waits=Waits(
            start_s=start_s,
            training_stop_s=10,
            serving_stop_s=10,
            invocation_s=30,
            unhealthy_s=5,
            job_s=300,
        ),
    )
    return {verdict.check.id: verdict for verdict in conformance.run(subject, identities)}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_usual_carelessness_is_found_and_nothing_else(tmp_path: Path) -> None:
    verdicts = judge(tmp_path, PROGRAM, CHECKS)

    assert {identity for identity, verdict in verdicts.items() if verdict.is_violation} == {
        "IMG-2a",  # demands a word
        "OUT-5a", "OUT-8a", "IN-7a", "IN-11a", "CK-1a",
        "HO-1b",  # gunicorn's plain workers close connections
        "HO-4b", "HO-4d",
        "RQ-3a", "RQ-3b",  # compares the whole Content-Type
        "RQ-4c", "RQ-6a", "RQ-6b", "RQ-8a",  # answers nonsense with 500 and a page
        "BT-8a",
    }  # fmt: skip


def test_its_must_is_told_with_evidence_and_remedy(tmp_path: Path) -> None:
    verdicts = judge(tmp_path, PROGRAM, {"OUT-1a", "OUT-3a", "RQ-1a", "RQ-3a", "RQ-6a"})

    assert [verdicts[identity].outcome for identity in ("OUT-1a", "OUT-3a", "RQ-1a")] == [
        "pass"
    ] * 3
    assert "text/csv; charset=utf-8: 415" in verdicts["RQ-3a"].evidence
    assert verdicts["RQ-3a"].check.remedy == "compare the media type before the semicolon"
    assert ": 500 " in verdicts["RQ-6a"].evidence
    assert "answer 400" in verdicts["RQ-6a"].check.remedy


def test_a_failure_in_the_wrong_place_is_found_there(tmp_path: Path) -> None:
    verdicts = judge(tmp_path, [*PROGRAM, "--failure-elsewhere"], {"OUT-1b", "OUT-2a"})

    assert verdicts["OUT-1b"].outcome == "pass"
    assert verdicts["OUT-2a"].is_violation
    assert "found failure" in verdicts["OUT-2a"].evidence
    assert "/opt/ml/output/failure" in verdicts["OUT-2a"].check.remedy


def test_a_server_on_loopback_alone_is_told_to_bind_all_addresses(tmp_path: Path) -> None:
    verdicts = judge(tmp_path, [*PROGRAM, "--loopback"], {"HO-1a", "OUT-1a"}, start_s=6)

    assert verdicts["HO-1a"].is_violation
    assert "it listens on 127.0.0.1 only" in verdicts["HO-1a"].evidence
    assert "bind 0.0.0.0" in verdicts["HO-1a"].check.remedy


def test_a_shell_between_platform_and_server_costs_the_request_in_flight(tmp_path: Path) -> None:
    shell = ["sh", "-c", f'{shlex.join(PROGRAM)} "$@"; exit $?', "sh"]

    verdicts = judge(tmp_path, shell, {"OUT-1a", "HO-10a", "HO-10b"})

    assert verdicts["OUT-1a"].outcome == "pass"
    assert verdicts["HO-10a"].is_violation  # process 1 is the shell, which has no handler
    assert verdicts["HO-10b"].outcome == "not applicable"
    assert "no shell between the platform and the server" in verdicts["HO-10a"].check.remedy


def test_what_needs_root_has_it(tmp_path: Path) -> None:
    assert (
        judge(tmp_path, [*PROGRAM, "--needs-root"], {"OUT-1a"})["OUT-1a"].outcome == "pass"
    )  # IMG-6
