"""The commands that start Open MPI."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

from container.errors import UserError
from container.training.launching import across_hosts, mpi
from container.training.launching.choice import Launch

PROGRAM = ["/job/python", "--", "train.py", "--name", "a b"]
TWO = ("algo-1", "algo-2")


@pytest.fixture
def variables(tmp_path: Path) -> dict[str, str]:
    """Return variables of a host that has mpirun."""
    (tmp_path / "mpirun").touch(mode=0o755)
    return {"PATH": str(tmp_path), "SM_NETWORK_INTERFACE_NAME": "eth7"}


def test_the_first_host_runs_mpirun_and_the_others_follow_it(
    variables: dict[str, str], tmp_path: Path
) -> None:
    first = Launch("mpirun", TWO, 0, processes_per_host=4, options="--NCCL_DEBUG INFO -x 'A=b c'")
    launched = mpi.compose(first, PROGRAM, variables, "python", tmp_path)
    command = list(launched.command)
    at = command.index(f"{tmp_path}/mpirun")

    assert command[:at] == [
        *(sys.executable, "-I", across_hosts.__file__, "mpirun", "7777"),
        *("algo-1,algo-2", str(tmp_path)),
    ]
    assert command[at + 1 : at + 5] == ["--host", "algo-1:4,algo-2:4", "-np", "8"]
    assert command[-7:-3] == ["-x", "A=b c", "-x", "NCCL_DEBUG=INFO"]
    assert launched.variables["BYO_RANK_PROGRAM"] == "/job/python -- train.py --name 'a b'"
    assert launched.variables["OMPI_MCA_btl_tcp_if_include"] == "eth7"
    assert launched.rank_variable == "OMPI_COMM_WORLD_RANK"

    second = Launch("mpirun", TWO, 1, processes_per_host=4)
    launched = mpi.compose(second, PROGRAM, variables, "python", tmp_path)
    assert launched.command[3:] == ["follow", "algo-1", "7777", "algo-2", str(tmp_path)]


def test_a_single_host_runs_mpirun_itself(variables: dict[str, str], tmp_path: Path) -> None:
    launch = Launch("mpirun", ("algo-1",), 0, processes=3)
    command = mpi.compose(launch, PROGRAM, variables, "python", tmp_path).command

    assert command[:5] == [f"{tmp_path}/mpirun", "--host", "localhost:3", "-np", "3"]
    assert command[-len(PROGRAM) :] == PROGRAM


def test_options_that_cannot_be_read_are_an_error(
    variables: dict[str, str], tmp_path: Path
) -> None:
    launch = Launch("mpirun", TWO, 0, options="-x 'A=b")
    with pytest.raises(UserError, match=r"custom_mpi_options=.* No closing quotation"):
        mpi.compose(launch, PROGRAM, variables, "python", tmp_path)


def test_without_mpirun_the_job_is_refused_with_the_way_to_it(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"mpirun, which is not installed: name openmpi in req"):
        mpi.compose(Launch("mpirun", TWO, 0), PROGRAM, {"PATH": ""}, "python", tmp_path)


def test_a_library_below_a_folder_with_a_space_is_preloaded(
    variables: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = tmp_path / "a clone" / "gethostname.so"
    library.parent.mkdir()
    library.write_bytes(b"the library")
    spec = importlib.util.spec_from_file_location("gethostname", library)
    monkeypatch.setattr(importlib.util, "find_spec", {"gethostname": spec}.get)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    variables["LD_PRELOAD"] = "/opt/other.so"

    for rank in (0, 1):
        launched = mpi.compose(Launch("mpirun", TWO, rank), PROGRAM, variables, "python", scratch)

    own, other = launched.variables["LD_PRELOAD"].split(":")
    assert " " not in own
    assert Path(own).read_bytes() == b"the library"
    assert other == "/opt/other.so"
