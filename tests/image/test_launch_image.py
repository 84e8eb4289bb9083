"""The target `launch`: Open MPI in the image, and what the MPI driver of the SDK's version 3 needs.

The framework is none: the target adds the same to each.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.contract.aws import walkthrough
from tests.contract.aws.client import LocalAws, read_logs
from tests.image.engine import build, docker
from tests.support import PROGRAMS, ROOT, USER_CODE

pytestmark = [pytest.mark.image, pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def launch_image(checkout: Path) -> str:
    arguments = ["--target", "launch", "--build-arg=FRAMEWORK=none"]
    return build(checkout, "Dockerfile.cpu", "byo-test-launch", *arguments)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory: Path = tmp_path_factory.mktemp("source")
    shutil.copyfile(USER_CODE / "mpi_sum.py", directory / "mpi_sum.py")
    return directory


@pytest.fixture(scope="module")
def launch_aws(launch_image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalAws]:
    local = LocalAws(tmp_path_factory.mktemp("launch-aws"))
    local.image = f"000000000000.dkr.ecr.us-east-1.amazonaws.com/{launch_image}"
    with local.running(program=None):
        local.s3.create_bucket(Bucket=local.bucket)
        yield local


@pytest.fixture(scope="module")
def facts(launch_aws: LocalAws, source: Path) -> dict[str, Any]:
    """Return what a user of version 3 of the SDK saw, unmodified, with its MPI driver."""
    arguments = [launch_aws.image, launch_aws.role, str(source)]
    process = walkthrough.start(launch_aws, "v3", PROGRAMS / "sdk_v3_mpi.py", *arguments)
    found: dict[str, Any] = json.loads(walkthrough.finish(process, 900).splitlines()[-1])
    return found


def run(image: str, *command: str) -> str:
    return docker("run", "--rm", "--entrypoint", command[0], image, *command[1:])


def test_the_image_holds_open_mpi_and_whole_packages(launch_image: str) -> None:
    assert re.match(r"mpirun \(Open MPI\) [45]\.", run(launch_image, "mpirun", "--version"))
    assert "No broken requirements found" in run(launch_image, "pip", "check")
    assert run(launch_image, "find", "/", "-xdev", "-perm", "/6000", "-type", "f") == ""


def test_mpirun_starts_two_processes_which_reach_each_other(launch_image: str) -> None:
    program = "from mpi4py import MPI; print(f'total={MPI.COMM_WORLD.allreduce(1)};', flush=True)"
    command = ["mpirun", "--allow-run-as-root", "--oversubscribe", "-np", "2", "python", "-c"]
    assert run(launch_image, *command, program).count("total=2;") == 2


def test_a_job_that_asks_for_mpi_runs_on_two_hosts(
    launch_image: str, source: Path, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "local_test", "train", "--image", launch_image]
    command += [
        "--instance-count",
        "2",
        "-c",
        f"code={source}",
        "-e",
        "SAGEMAKER_PROGRAM=mpi_sum.py",
    ]
    command += ["-p", "sagemaker_mpi_enabled=true"]
    command += ["-p", "sagemaker_mpi_num_of_processes_per_host=2"]
    environ = {**os.environ, "LOCAL_TEST_JOBS": str(tmp_path), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = re.findall(r"\[\d,(\d)\]<stdout>: ?total=10; host=(algo-\d);", done.stderr)
    assert set(found) == {("0", "algo-1"), ("1", "algo-1"), ("2", "algo-2"), ("3", "algo-2")}


def test_the_mpi_driver_of_the_sdk_v3_runs_on_two_hosts(
    launch_aws: LocalAws, facts: dict[str, Any]
) -> None:
    trained = facts["trained"]
    logs = read_logs(launch_aws, trained["name"])
    assert trained["failed"] == "", "\n".join(logs)
    found = re.findall(r"\[\d,(\d)\]<stdout>: ?total=3; host=(algo-\d);", logs[0])
    assert set(found) == {("0", "algo-1"), ("1", "algo-2")}


def test_a_rank_that_raises_fails_the_job_of_that_driver(
    launch_aws: LocalAws, facts: dict[str, Any]
) -> None:
    assert facts["raised"]["failed"] != ""
    logs = read_logs(launch_aws, facts["raised"]["name"])
    assert "ValueError: the cause is on rank 1" in logs[0]
