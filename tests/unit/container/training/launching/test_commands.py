"""The commands of the launchers."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from container.errors import UserError
from container.training.launching import commands
from container.training.launching.choice import Launch, LauncherName

PROGRAM = ["python", "train.py", "--epochs", "3"]


@pytest.fixture
def variables(tmp_path: Path) -> dict[str, str]:
    """Return variables of a Python that has torch."""
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch/__init__.py").touch()
    return {"PYTHONPATH": str(tmp_path), "SM_NUM_GPUS": "0"}


def test_torchrun_meets_on_the_first_host_and_starts_a_process_per_accelerator(
    variables: dict[str, str], tmp_path: Path
) -> None:
    launch = Launch("torchrun", ("algo-1", "algo-2"), rank=1)
    variables["SM_NUM_GPUS"] = "4"

    launched = commands.compose(launch, PROGRAM, variables, sys.executable, tmp_path)

    assert launched.command[1:] == [
        "-m",
        "torch.distributed.run",
        "--nnodes=2",
        "--nproc-per-node=4",
        "--tee=3",
        f"--log-dir={tmp_path}/ranks",
        "--node-rank=1",
        "--master-addr=algo-1",
        "--master-port=7777",
        "--no-python",
        *PROGRAM,
    ]
    assert launched.variables["OMP_NUM_THREADS"] == "1"


def test_what_the_user_sets_wins(variables: dict[str, str], tmp_path: Path) -> None:
    launch = Launch("torchrun", ("algo-1", "algo-2"), rank=0, processes_per_host=3)
    variables |= {"MASTER_PORT": "29501", "OMP_NUM_THREADS": "7", "SM_NUM_NEURONS": "2"}

    launched = commands.compose(launch, PROGRAM, variables, sys.executable, tmp_path)

    assert "--master-port=29501" in launched.command
    assert "--nproc-per-node=3" in launched.command
    assert "OMP_NUM_THREADS" not in launched.variables


def test_a_single_host_takes_any_free_port_of_loopback(
    variables: dict[str, str], tmp_path: Path
) -> None:
    command = commands.compose(
        Launch("torchrun", ("algo-1",), 0), PROGRAM, variables, sys.executable, tmp_path
    ).command

    assert "--master-addr=127.0.0.1" in command
    assert "--nproc-per-node=1" in command


@pytest.mark.parametrize("launcher", ["torchrun", "ray"])
def test_without_its_package_a_launcher_is_refused_with_the_way_to_it(
    tmp_path: Path, launcher: LauncherName
) -> None:
    with pytest.raises(UserError, match=r"is not installed: name it in requirements\.txt"):
        commands.compose(Launch(launcher, ("algo-1",), 0), PROGRAM, {}, sys.executable, tmp_path)


def test_a_program_without_a_launcher_is_started_as_it_is(tmp_path: Path) -> None:
    launched = commands.compose(None, PROGRAM, {}, sys.executable, tmp_path)
    assert (launched.command, launched.variables) == (PROGRAM, {})
