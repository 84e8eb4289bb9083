"""Programs launched on two hosts by torchrun and mpirun, as the platform runs them."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

from container.developer import init
from local_test.jobs.training import TrainingJob
from local_test.requests import shorthand
from local_test.requests.validation import validate
from local_test.runners.launcher import has_namespaces, has_networks
from local_test.runners.process import ProcessRunner
from tests.contract.training_job import Job
from tests.environments import find_packages, install_apart
from tests.support import ROOT, USER_CODE, free_port

pytest.importorskip("sagemaker_training", reason="docker/requirements-scripts.txt is not installed")
pytestmark = pytest.mark.skipif(not has_namespaces(), reason="two hosts need names of their own")

needs_networks = pytest.mark.skipif(
    not has_networks(), reason="Open MPI needs an address of its own for each host"
)
TORCHRUN = {"sagemaker_torch_distributed_enabled": "true"}


def make_job(
    directory: Path, program: str, hyperparameters: dict[str, str], **options: Any
) -> TrainingJob:
    code = directory / "code"
    apart = ("torch", "ray") if hyperparameters.get("launcher") == "ray" else ("torch",)
    if program:
        code.mkdir()
        # Ray's agent must start within 15 s, and this package of our tests takes seconds of them.
        (code / "rfc3987_syntax.py").write_text("raise ImportError")
        (code / "train.py").write_text((USER_CODE / program).read_text())
    request = shorthand.training_request(
        name="job",
        image="any",
        channels={"code": str(code)} | ({} if program else {"training": str(directory / "data")}),
        output=str(directory / "out"),
        instance_count=2,
        hyperparameters=hyperparameters,
        environment={
            "PYTHONPATH": ":".join([str(ROOT), *map(str, map(find_packages, apart))]),
            "PATH": f"{Path(sys.executable).parent}:{install_apart('torch') / 'bin'}:/usr/bin:/bin",
            "MASTER_PORT": str(free_port()),
            "OMP_NUM_THREADS": "1",
        },
        **options,
    )
    runner = ProcessRunner([sys.executable, "-m", "container"], directory=ROOT)
    return TrainingJob(validate("CreateTrainingJob", request), runner, directory / "job")


def read_logs(directory: Path) -> list[str]:
    return [(directory / f"job/logs/algo-{host}.log").read_text() for host in (1, 2)]


def test_torchrun_trains_one_model_on_two_hosts(tmp_path: Path) -> None:
    result = make_job(tmp_path, "ddp.py", TORCHRUN | {"steps": "3"}).run()

    logs = read_logs(tmp_path)
    assert result.status == "Completed", "\n".join(logs)
    for host, log in enumerate(logs):
        ranks = re.findall(r"^\[rank(\d)\]: rank=\1; world=2;", log, re.MULTILINE)
        assert set(ranks) == {str(host)}
    assert len(set(re.findall(r"weights=(\w+);", "".join(logs)))) == 1
    with tarfile.open(tmp_path / "out/job/output/model.tar.gz") as archive:
        assert "model.pt" in archive.getnames()


@pytest.mark.slow
def test_a_new_torch_project_trains_on_two_hosts_and_serves(tmp_path: Path) -> None:
    init.write(tmp_path, "torch")
    result = make_job(tmp_path, "", TORCHRUN | {"epochs": "3"}).run()

    assert result.status == "Completed", "\n".join(read_logs(tmp_path))
    assert re.findall(r"epoch=(\d); train_loss=[\d.]+;", read_logs(tmp_path)[0]) == ["1", "2", "3"]
    with tarfile.open(tmp_path / "out/job/output/model.tar.gz") as archive:
        archive.extractall(tmp_path / "model")  # noqa: S202 - made by our own job
    ask = (
        "import sys; sys.path.insert(0, sys.argv[1] + '/code'); import inference, numpy\n"
        "model = inference.model_fn(sys.argv[1])\n"
        "print(inference.predict_fn(numpy.array([[2.0, 3.0], [5.0, 7.0]]), model).shape)\n"
    )
    command = [sys.executable, "-c", ask, str(tmp_path / "model")]
    environ = {"PYTHONPATH": str(find_packages("torch"))}
    answer = subprocess.run(command, env=environ, capture_output=True, text=True, check=True)
    assert answer.stdout == "(2,)\n"


@pytest.mark.slow
def test_a_new_torch_project_resumes_from_its_checkpoint(tmp_path: Path) -> None:
    init.write(tmp_path / "project", "torch")
    job = Job(tmp_path / "ml")
    shutil.copytree(tmp_path / "project/code", job.base / "code")
    shutil.copytree(tmp_path / "project/data", job.base / "input/data/training")
    job.configure("inputdataconfig", {"training": {"TrainingInputMode": "File"}})
    for epochs, said in (("2", b"epoch=2; "), ("4", b"resuming after epoch 2\nepoch=3; ")):
        job.configure("hyperparameters", {"epochs": epochs})
        result = job.train(PYTHONPATH=f"{ROOT}:{find_packages('torch')}")
        assert result.returncode == 0, result.stderr.decode()
        assert said in result.stdout


@pytest.mark.slow  # a failing rank of mpirun is below, and test_ranks.py reads torchrun's reports
def test_a_rank_that_is_killed_ends_the_job_with_its_own_reason(tmp_path: Path) -> None:
    result = make_job(tmp_path, "ddp.py", TORCHRUN | {"kill": "1"}).run()

    reason = result.description["FailureReason"]
    assert result.status == "Failed"
    assert "ExitCode 137" in reason
    assert "rank 1 of torchrun failed first; Process killed by SIGKILL" in reason


MPI = {
    "sagemaker_mpi_enabled": "true",
    "sagemaker_mpi_num_of_processes_per_host": "2",
    "sagemaker_mpi_custom_mpi_options": "--NCCL_DEBUG WARN",
}


@needs_networks
def test_mpirun_starts_the_processes_of_two_hosts(tmp_path: Path) -> None:
    result = make_job(tmp_path, "mpi_sum.py", MPI, is_isolated=True).run()

    logs = read_logs(tmp_path)
    assert result.status == "Completed", "\n".join(logs)
    found = re.findall(r"\[\d,(\d)\]<stdout>: ?total=10; host=(algo-\d); nccl=WARN;", logs[0])
    assert set(found) == {("0", "algo-1"), ("1", "algo-1"), ("2", "algo-2"), ("3", "algo-2")}
    with tarfile.open(tmp_path / "out/job/output/model.tar.gz") as archive:
        assert "total" in archive.getnames()


@pytest.mark.slow
@needs_networks
@pytest.mark.parametrize(
    ("hyperparameter", "reason"),
    [("fail-on", "ValueError: the cause is on rank 3"), ("kill", "Process killed by SIGKILL")],
)
def test_a_rank_of_mpirun_that_fails_on_another_host_is_the_jobs_reason(
    tmp_path: Path, hyperparameter: str, reason: str
) -> None:
    hyperparameters = MPI | {hyperparameter: "3"}
    result = make_job(tmp_path, "mpi_sum.py", hyperparameters, is_isolated=True).run()

    assert result.status == "Failed"
    assert reason in result.description["FailureReason"]
    assert "rank 3 of mpirun failed first" in result.description["FailureReason"]
    assert "the job failed on algo-1, whose log has the cause" in read_logs(tmp_path)[1]


@pytest.mark.slow
@needs_networks
def test_ray_runs_the_program_on_the_first_host_with_the_tasks_on_both(tmp_path: Path) -> None:
    result = make_job(tmp_path, "ray_sum.py", {"launcher": "ray"}, is_isolated=True).run()

    logs = read_logs(tmp_path)
    assert result.status == "Completed", "\n".join(logs)
    assert "nodes=['algo-1', 'algo-2'];" in logs[0]
    assert "nodes=" not in logs[1]


@pytest.mark.slow
@needs_networks
def test_a_task_of_ray_that_fails_is_the_jobs_reason(tmp_path: Path) -> None:
    hyperparameters = {"launcher": "ray", "fail": "1"}
    result = make_job(tmp_path, "ray_sum.py", hyperparameters, is_isolated=True).run()

    assert result.status == "Failed"
    assert "ValueError: the cause is in a task" in result.description["FailureReason"]


def test_mpirun_starts_the_processes_of_a_host(tmp_path: Path) -> None:
    job = Job(tmp_path / "ml")
    job.add_code("mpi_sum.py")
    asked = {"sagemaker_mpi_enabled": "true", "sagemaker_mpi_num_of_processes_per_host": "3"}
    programs = install_apart("torch") / "bin"
    environ = job.environ()
    variables = {
        "SAGEMAKER_PROGRAM": "mpi_sum.py",
        "PATH": f"{Path(sys.executable).parent}:{programs}:{environ['PATH']}",
        "PYTHONPATH": f"{ROOT}:{find_packages('torch')}",
    }
    job.configure("hyperparameters", asked)
    result = job.train(**variables)
    assert result.returncode == 0, result.stderr.decode()
    ranks = re.findall(rb"\[\d,(\d)\]<stdout>: ?total=6; host=algo-1;", result.stdout)
    assert set(ranks) == {b"0", b"1", b"2"}

    job.configure("hyperparameters", asked | {"fail-on": "2"})
    assert job.train(**variables).returncode == 1
    assert 'ErrorMessage "ValueError: the cause is on rank 2' in job.failure
    assert "rank 2 of mpirun failed first" in job.failure
