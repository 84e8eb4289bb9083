"""The image with PyTorch: what it holds, the contract, and a new project from first to last."""

from __future__ import annotations

import http.server
import json
import os
import re
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path

import pytest

from benchmarks import image_budgets
from container.developer import init
from local_test.runners.containers.addresses import find_gateway
from tests.image.engine import build, docker
from tests.support import ROOT

pytestmark = [pytest.mark.image, pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def base() -> str:
    """Return a base with Python 3.11, for which the lock names PyTorch's build."""
    if "BASE_IMAGE" not in os.environ:
        return "python:3.11-slim-bookworm"
    name = "byo-stand-in-base:bookworm"
    make = [ROOT / "docker/make_stand_in_base.sh", "--suite", "bookworm", name]
    subprocess.run(make, check=True)
    return name


@pytest.fixture(scope="module")
def torch_image(checkout: Path, base: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the image with PyTorch, whose wheel comes from an index that a secret names."""
    wheels = tmp_path_factory.mktemp("wheels")
    lock = (checkout / "docker/requirements-torch.txt").read_text()
    [torch] = re.findall(r"^torch==.*?(?=^\S)", lock, re.MULTILINE | re.DOTALL)
    (wheels / "torch.txt").write_text(torch)
    download = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", wheels]
    subprocess.run([*download, "--require-hashes", "-r", wheels / "torch.txt"], check=True)
    gateway = find_gateway()
    assert gateway is not None
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(wheels))
    secret = wheels.parent / "pip.conf"
    with http.server.ThreadingHTTPServer((gateway, 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        links = f"find-links = http://{gateway}:{server.server_port}/\n"
        secret.write_text(f"[global]\n{links}trusted-host = {gateway}\n")
        arguments = ["--build-arg=FRAMEWORK=torch", f"--build-arg=BASE_IMAGE={base}"]
        arguments += ["--secret", f"id=pip,src={secret}"]
        name = build(checkout, "Dockerfile.cpu", "byo-test-torch", *arguments)
        server.shutdown()
    return name


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory: Path = tmp_path_factory.mktemp("torch") / "byo-test-torch-project"
    init.write(directory, "torch")
    return directory


@pytest.fixture(scope="module")
def project_image(torch_image: str, project: Path) -> str:
    """Return the image of a new project, by the Dockerfile that `init` writes."""
    return build(project, "Dockerfile", project.name, "--build-arg", f"BASE_IMAGE={torch_image}")


def run(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "LOCAL_TEST_JOBS": str(directory / "jobs"), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "local_test", *arguments]
    return subprocess.run(command, env=environ, capture_output=True, text=True, check=False)


def test_the_image_holds_pytorch_for_cpus_and_no_tensorflow(torch_image: str) -> None:
    packages = docker("run", "--rm", torch_image, "pip", "freeze", "--all").splitlines()
    names = {line.partition("==")[0].lower().replace("-", "_") for line in packages}
    assert {"torch", "numpy", "flask", "sagemaker_training"} <= names
    assert not [name for name in names if re.match(r"tensorflow|keras|nvidia|triton", name)]
    said = docker(
        "run", "--rm", torch_image, "python", "-c", "import torch; print(torch.version.cuda)"
    )
    assert said.strip() == "None"
    assert "No broken requirements found" in docker("run", "--rm", torch_image, "pip", "check")


def test_serving_costs_less_than_its_budget_on_top_of_pytorch(torch_image: str, base: str) -> None:
    figures = image_budgets.measure_torch(base, torch_image)
    print(figures)
    for name, value in figures.items():
        assert value <= image_budgets.BUDGETS.get(name, value), f"{name}: {value:.0f}"


def test_the_bundled_network_is_refused_with_what_to_do(torch_image: str, tmp_path: Path) -> None:
    done = run(tmp_path, "train", "--image", torch_image, "-c", f"training={tmp_path}")
    assert done.returncode == 1
    assert "FRAMEWORK=tensorflow" in done.stderr


def test_a_new_project_is_trained_served_and_trained_on_two_hosts(
    project_image: str, project: Path, tmp_path: Path
) -> None:
    """By the commands of its README, whose build is that of the fixture."""
    steps = (project / "README.md").read_text().partition("-t byo:torch .`), then:\n")[2]
    joined = re.sub(r" \\\n +", " ", steps)
    commands = [line.strip() for line in joined.splitlines() if line.startswith("    ")]
    assert commands[0] == (
        f"docker build --tag {project_image} --build-arg BASE_IMAGE=byo:torch {project}"
    )
    smoke, two_hosts = (
        run(tmp_path, *command.removeprefix("python -m local_test ").split())
        for command in commands[1:]
    )
    assert smoke.returncode == 0, smoke.stderr
    assert re.search(r"^\[-?\d+\.\d+, -?\d+\.\d+\]$", smoke.stdout, re.MULTILINE)
    assert two_hosts.returncode == 0, two_hosts.stderr
    assert re.search(r"algo-1 \| .*epoch=20; train_loss=", two_hosts.stderr)
    assert two_hosts.stdout.startswith("Completed ")


def test_the_image_keeps_the_contract(project_image: str, project: Path, tmp_path: Path) -> None:
    flags = ["-c", f"training={project}/data", "-p", "epochs=400", "--stop-at", "epoch=1;"]
    flags += ["--body", str(project / "request.csv"), "--metric", "loss=train_loss=([0-9.]+);"]
    done = run(tmp_path, "conform", "--image", project_image, *flags, "--json")
    verdicts = json.loads(done.stdout)["verdicts"]
    violated = {
        row["id"]: row["evidence"]
        for row in verdicts
        if row["outcome"] == "fail" and row["severity"] == "MUST"
    }
    assert violated == {}
    assert done.returncode == 0
    assert sum(row["outcome"] == "pass" for row in verdicts) > 60
