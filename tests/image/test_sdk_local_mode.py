"""The SDKs' own local modes, on docker-compose, run our image as AWS would."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from local_test.runners.process import find_free_port
from tests.contract.aws.walkthrough import install_sdk, write_digits
from tests.image.engine import docker
from tests.support import PROGRAMS

Digits = dict[str, tuple[NDArray[np.uint8], NDArray[np.int32]]]


@pytest.fixture
def channels(tmp_path: Path, digits: Digits) -> Path:
    write_digits(tmp_path, digits)
    for channel, part in (("training", "train"), ("testing", "test")):
        (tmp_path / channel).mkdir()
        (tmp_path / f"mnist_{part}.csv").rename(tmp_path / channel / "rows.csv")
    return tmp_path


def run(sdk: str, image: str, directory: Path, *arguments: str) -> str:
    """Run a user's program of the SDK, which finds no AWS."""
    if shutil.which("docker-compose") is None:
        pytest.skip("the SDKs' local modes need docker-compose on PATH")
    program = PROGRAMS / f"sdk_{sdk}_local_mode.py"
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": str(directory),
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    keys = {
        "AWS_ACCESS_KEY_ID": "none",
        "AWS_SECRET_ACCESS_KEY": "none",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    command = [install_sdk(sdk), "-W", "ignore", str(program), image, str(directory), *arguments]
    try:
        done = subprocess.run(
            command,
            cwd=directory,
            env={**environ, **keys},
            capture_output=True,
            text=True,
            timeout=500,
            check=False,
        )
    finally:
        remove_projects(directory)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def remove_projects(directory: Path) -> None:
    """Remove the leftovers of this mode by label; it has removed its compose file itself."""
    project, place = "com.docker.compose.project", "com.docker.compose.project.working_dir"
    rows = docker(
        "ps",
        "--all",
        "--format",
        f'{{{{.ID}}}}\t{{{{.Label "{project}"}}}}\t{{{{.Label "{place}"}}}}',
    )
    found = [row.split("\t") for row in rows.splitlines()]
    found = [row for row in found if row[2] and Path(row[2]).is_relative_to(directory)]
    for container, _, _ in found:
        docker("rm", "--force", "--volumes", container)
    for name in {name for _, name, _ in found}:
        for network in docker(
            "network", "ls", "--quiet", "--filter", f"label={project}={name}"
        ).split():
            docker("network", "rm", network)


@pytest.mark.slow
def test_local_mode_of_the_sdk_v2_trains_deploys_and_predicts(image: str, channels: Path) -> None:
    output = run("v2", image, channels, str(find_free_port()))
    assert "10 probabilities, 1.000 together" in output
    assert (channels / "output/model.tar.gz").stat().st_size > 0


@pytest.mark.slow
def test_local_mode_of_the_sdk_v3_trains(image: str, channels: Path) -> None:
    output = run("v3", image, channels)
    assert "test_accuracy=" in output
    assert (channels / "compressed_artifacts/model.tar.gz").stat().st_size > 0
