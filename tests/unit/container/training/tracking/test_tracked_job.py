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
from container.training.tracking.mlflow_run import MlflowRun
from container.training.tracking.wandb_run import WandbRun
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
        ({}, []),
        ({"MLFLOW_TRACKING_URI": ""}, []),
        (SERVER, [MlflowRun]),
        ({**SERVER, "BYO_MLFLOW": "true"}, [MlflowRun]),
        ({**SERVER, "BYO_MLFLOW": "False"}, []),
        ({**SERVER, "BYO_MLFLOW": "0"}, []),
        ({**SERVER, "BYO_MLFLOW": "no"}, []),
        ({**SERVER, "BYO_MLFLOW": "OFF"}, []),
        ({"WANDB_API_KEY": "x" * 40, "WANDB_PROJECT": "mine"}, []),
        ({"BYO_WANDB": "true"}, [WandbRun]),
        ({**SERVER, "BYO_WANDB": "1"}, [MlflowRun, WandbRun]),
    ],
)
def test_the_switches_choose_the_servers(
    environ: dict[str, str], wanted: list[type], tmp_path: Path
) -> None:
    assert tracked_job.choose(contract.Layout(tmp_path), environ) == wanted


@pytest.mark.parametrize("switch", ["BYO_MLFLOW", "BYO_WANDB"])
def test_a_switch_that_is_neither_on_nor_off_is_refused(switch: str, tmp_path: Path) -> None:
    environ = {**SERVER, switch: "fasle"}
    with pytest.raises(UserError, match=f"{switch}='fasle': expected one of true, 1"):
        tracked_job.choose(contract.Layout(tmp_path), environ)


@pytest.mark.parametrize(("host", "wanted"), [("algo-1", [MlflowRun]), ("algo-2", [])])
def test_the_first_host_records_the_job(host: str, wanted: list[type], tmp_path: Path) -> None:
    layout = contract.Layout(tmp_path)
    layout.resource_config.parent.mkdir(parents=True)
    resources = {"current_host": host, "hosts": ["algo-1", "algo-2"]}
    layout.resource_config.write_text(json.dumps(resources))
    assert tracked_job.choose(layout, SERVER) == wanted


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


@pytest.mark.parametrize(
    ("environ", "package", "sentence"),
    [
        (SERVER, "mlflow", "MLFLOW_TRACKING_URI is set, and the package mlflow is not in"),
        ({"BYO_WANDB": "true"}, "wandb", "BYO_WANDB is true, and the package wandb is not in"),
    ],
)
def test_a_missing_package_fails_the_job_with_one_sentence(
    environ: dict[str, str], package: str, sentence: str, tmp_path: Path
) -> None:
    assert importlib.util.find_spec(package) is None, "it is not among our locked packages"

    done = subprocess.run(
        [sys.executable, "-m", "container", "train"],
        cwd=ROOT,
        env={**os.environ, **environ, "SAGEMAKER_BASE_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )

    reason = (tmp_path / "output/failure").read_text()
    assert done.returncode == 1
    assert reason.startswith(f"UserError: {sentence} this image; install ")
    assert done.stderr == f"{reason}\n"
