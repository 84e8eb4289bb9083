"""The GPU image with PyTorch, without a GPU: its libraries are found; it computes on the CPU."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from container.developer import init
from tests.image.engine import build, docker
from tests.support import ROOT

pytestmark = [pytest.mark.image, pytest.mark.slow, pytest.mark.timeout(3600)]


@pytest.fixture(scope="module")
def torch_gpu_image(checkout: Path) -> str:
    """Return the name of the image; its wheels are 4 GB."""
    return build(checkout, "Dockerfile.gpu", "byo-test-torch-gpu", "--build-arg=FRAMEWORK=torch")


def test_it_holds_pytorch_for_cuda_12_and_no_tensorflow(torch_gpu_image: str) -> None:
    script = "import torch; print(torch.version.cuda, torch.cuda.is_available())"
    said = docker("run", "--rm", "--entrypoint", "python", torch_gpu_image, "-c", script)
    assert said.startswith("12.")
    assert said.endswith(" False\n")
    packages = docker("run", "--rm", "--entrypoint", "pip", torch_gpu_image, "freeze", "--all")
    assert "tensorflow" not in packages
    check = docker("run", "--rm", "--entrypoint", "pip", torch_gpu_image, "check")
    assert "No broken requirements found" in check


def test_every_library_of_pytorch_is_found_but_the_drivers(torch_gpu_image: str) -> None:
    script = """
        cd /opt/venv/lib/python3*/site-packages
        find torch -name '*.so*' | xargs -n1 ldd 2>/dev/null | grep 'not found' | sort -u
    """
    found = docker("run", "--rm", "--entrypoint", "bash", torch_gpu_image, "-c", script)
    assert {line.split()[0] for line in found.splitlines()} <= {"libcuda.so.1"}


def test_a_new_project_trains_on_the_cpu_where_there_is_no_driver(
    torch_gpu_image: str, tmp_path: Path
) -> None:
    project = tmp_path / "project"
    init.write(project, "torch")
    command = [sys.executable, "-m", "local_test", "train", "--image", torch_gpu_image]
    command += ["-c", f"training={project}/data", "-c", f"code={project}/code", "-p", "epochs=3"]
    environ = {**os.environ, "LOCAL_TEST_JOBS": str(tmp_path / "jobs"), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "no NVIDIA driver on this host: the CPU computes" in done.stderr
    assert "epoch=3; train_loss=" in done.stderr
