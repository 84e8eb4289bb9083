"""A job is recorded if there is a server, by its first host, and says so if it cannot be."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from container import contract
from container.errors import UserError
from container.training.tracking import tracked_job
from tests.support import ROOT

SERVER = {"MLFLOW_TRACKING_URI": "http://127.0.0.1:9"}

# Of MLflow's client, what a job without parameters calls; the file `status` is its server.
MLFLOW = """
from pathlib import Path
from types import SimpleNamespace as Named

class MlflowClient:
    def __init__(self, tracking_uri):
        pass

    def get_experiment_by_name(self, name):
        return Named(experiment_id="0")

    def create_run(self, experiment, run_name, tags):
        Path("status").write_text("RUNNING")
        return Named(info=Named(run_id="1"))

    def set_terminated(self, run, status):
        Path("status").write_text(status)
"""
# Linux takes 128 KiB in one variable of a new process.
PROGRAM = """
import os
from container.__main__ import main
raise SystemExit(main(["train"], {**os.environ, "LONG": "x" * 200_000}))
"""


@pytest.mark.parametrize(
    ("environ", "wanted"),
    [
        ({}, False),
        ({"MLFLOW_TRACKING_URI": ""}, False),
        (SERVER, True),
        ({**SERVER, "BYO_MLFLOW": "true"}, True),
        ({**SERVER, "BYO_MLFLOW": "False"}, False),
        ({**SERVER, "BYO_MLFLOW": "0"}, False),
        ({**SERVER, "BYO_MLFLOW": "no"}, False),
        ({**SERVER, "BYO_MLFLOW": "OFF"}, False),
    ],
)
def test_a_server_is_the_switch(environ: dict[str, str], wanted: bool, tmp_path: Path) -> None:
    assert tracked_job.is_wanted(contract.Layout(tmp_path), environ) is wanted


def test_a_switch_that_is_neither_on_nor_off_is_refused(tmp_path: Path) -> None:
    environ = {**SERVER, "BYO_MLFLOW": "fasle"}
    with pytest.raises(UserError, match="BYO_MLFLOW='fasle': expected one of true, 1"):
        tracked_job.is_wanted(contract.Layout(tmp_path), environ)


@pytest.mark.parametrize(("host", "wanted"), [("algo-1", True), ("algo-2", False)])
def test_the_first_host_records_the_job(host: str, wanted: bool, tmp_path: Path) -> None:
    layout = contract.Layout(tmp_path)
    layout.resource_config.parent.mkdir(parents=True)
    resources = {"current_host": host, "hosts": ["algo-1", "algo-2"]}
    layout.resource_config.write_text(json.dumps(resources))
    assert tracked_job.is_wanted(layout, SERVER) is wanted


def test_a_job_whose_process_cannot_be_started_is_a_failed_run(tmp_path: Path) -> None:
    (tmp_path / "mlflow").mkdir()
    (tmp_path / "mlflow/__init__.py").write_text(MLFLOW)
    (tmp_path / "mlflow/entities.py").touch()
    environ = {**os.environ, **SERVER, "SAGEMAKER_BASE_DIR": str(tmp_path)}
    environ["PYTHONPATH"] = f"{tmp_path}:{ROOT}"

    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=tmp_path, env=environ, check=False, timeout=120
    )

    reason = (tmp_path / "output/failure").read_text()
    assert done.returncode == 1
    assert reason.startswith("PlatformError: the training process cannot be run: [Errno 7]")
    assert (tmp_path / "status").read_text() == "FAILED"


def test_a_missing_package_fails_the_job_with_one_sentence(tmp_path: Path) -> None:
    assert importlib.util.find_spec("mlflow") is None, "it is not among our locked packages"

    done = subprocess.run(
        [sys.executable, "-m", "container", "train"],
        cwd=ROOT,
        env={**os.environ, **SERVER, "SAGEMAKER_BASE_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )

    reason = (tmp_path / "output/failure").read_text()
    assert done.returncode == 1
    assert reason.startswith("UserError: MLFLOW_TRACKING_URI is set, and the package mlflow")
    assert "mlflow-skinny" in reason
    assert done.stderr == f"{reason}\n"
