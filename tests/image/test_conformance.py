"""The harness's conformance checks find no violation in our own image and program."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
FLAGS = ["-p", "epochs=3", "-p", "optimizer=adam", "-p", "learning_rate=0.015", "-p", "flip=false"]
FLAGS += ["--stop-at", "epoch=1", "--json"]
UNSHOWN = {"IMG-12c", "MME-2d"}
"""Checks that the bundled model cannot show: it takes no streams, and eight of it fit anywhere."""


def conform(directory: Path, *flags: str | Path) -> dict[str, dict[str, str]]:
    """Return every verdict by its check's id."""
    done = subprocess.run(
        [sys.executable, "-m", "local_test", "conform", *flags, *FLAGS],
        env={**os.environ, "LOCAL_TEST_JOBS": str(directory)},
        cwd=ROOT,
        stdout=subprocess.PIPE,
        check=False,
    )
    verdicts = {row["id"]: row for row in json.loads(done.stdout)["verdicts"]}
    verdicts.pop("IMG-9a", None)  # how a local image is kept is the engine's choice
    violated = {
        identity: row["evidence"] for identity, row in verdicts.items() if row["outcome"] == "fail"
    }
    assert violated == {}
    assert done.returncode == 0
    return verdicts


def test_our_image_keeps_the_contract(tmp_path: Path, image: str) -> None:
    verdicts = conform(tmp_path, "--image", image)

    assert verdicts["DS-1a"]["outcome"] == "pass"
    assert {
        identity for identity, row in verdicts.items() if row["outcome"] == "not applicable"
    } <= {"HPO-1a", *UNSHOWN}


def test_our_serving_image_keeps_the_contract(
    tmp_path: Path, serve_image: str, trained_job: Path
) -> None:
    verdicts = conform(
        tmp_path, "--image", serve_image, "--serve", "--model", trained_job / "model"
    )

    assert {
        identity for identity, row in verdicts.items() if row["outcome"] == "not applicable"
    } <= UNSHOWN
    assert {"IMG-1b", "HO-4a", "HO-12a", "MME-2a"} <= set(verdicts)
    assert not {"IMG-1a", "OUT-1a"} & set(verdicts)  # this image does not train


def test_our_program_keeps_the_contract(tmp_path: Path) -> None:
    verdicts = conform(tmp_path, "--multi-model")  # of the images, their label says it

    assert verdicts["HPO-1a"]["outcome"] == "pass"
