"""The GPU image without a GPU: all libraries but the driver are found; it computes on the CPU."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.image.engine import build, docker, exit_code, running, write_job
from tests.image.test_conformance import UNSHOWN, conform

pytestmark = [pytest.mark.image, pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def gpu_image(checkout: Path) -> str:
    """Return the name of the GPU image; its wheels are 3 GB."""
    return build(checkout, "Dockerfile.gpu", "byo-test-gpu")


def test_every_library_is_found_but_the_drivers(gpu_image: str) -> None:
    script = """
        cd /opt/venv/lib/python3*/site-packages
        find nvidia tensorflow -name '*.so*' |
            xargs -n1 ldd 2>/dev/null | grep 'not found' | sort -u
    """
    assert docker("run", "--rm", "--entrypoint", "bash", gpu_image, "-c", script).split() == [
        *("libcuda.so.1", "=>", "not", "found")
    ]


def test_every_library_that_tensorflow_opens_by_name_can_be_opened(gpu_image: str) -> None:
    names = (
        "cudart.so.12 cublas.so.12 cublasLt.so.12 cufft.so.11 curand.so.10 cusolver.so.11 "
        "cusparse.so.12 cudnn.so.9 nccl.so.2 cupti.so.12 nvrtc.so.12"
    )
    script = f"""
import ctypes, pathlib
for name in {names.split()!r}:
    (path,) = pathlib.Path("/opt/venv").glob(f"lib/python3*/site-packages/nvidia/*/lib/lib{{name}}")
    ctypes.CDLL(str(path))
print("all")
"""
    assert docker("run", "--rm", "--entrypoint", "python", gpu_image, "-c", script) == "all\n"


def test_xla_finds_its_assembler_and_device_library(gpu_image: str) -> None:
    script = "d=${XLA_FLAGS#*=}; test -s $d/nvvm/libdevice/libdevice.10.bc; $d/bin/ptxas --version"
    assert "release 12" in docker("run", "--rm", "--entrypoint", "bash", gpu_image, "-ec", script)


def test_it_says_that_there_is_no_driver_and_trains_on_the_cpu(
    gpu_image: str, tmp_path: Path
) -> None:
    base = write_job(tmp_path / "ml", {"epochs": "2"})
    with running(gpu_image, "train", options=("--volume", f"{base}:/opt/ml")) as container:
        code, log = exit_code(container), docker("logs", container)
    assert code == 0, log
    assert "no NVIDIA driver on this host: the CPU computes" in log
    assert json.loads((base / "model/model.json").read_text())["classes"] == list(range(10))


def test_it_asks_for_the_drivers_compute_libraries(gpu_image: str) -> None:
    config = json.loads(docker("inspect", gpu_image))[0]["Config"]
    assert config["Entrypoint"] == ["python", "/opt/start/gpu_start.py"]
    assert "NVIDIA_DRIVER_CAPABILITIES=compute,utility" in config["Env"]


def test_it_is_smaller_than_its_wheels_of_tensorflow_and_cuda(gpu_image: str) -> None:
    script = """
import csv, pathlib
records = pathlib.Path("/opt/venv").glob("lib/python3*/site-packages/*.dist-info/RECORD")
wanted = [path for path in records if path.parent.name.startswith(("tensorflow-", "nvidia_"))]
print(sum(int(row[2] or 0) for path in wanted for row in csv.reader(path.open())))
"""
    wheels_bytes = int(docker("run", "--rm", "--entrypoint", "python", gpu_image, "-c", script))
    assert wheels_bytes > 5e9
    assert int(docker("inspect", "--format", "{{.Size}}", gpu_image)) < wheels_bytes


def test_it_keeps_the_contract(gpu_image: str, tmp_path: Path) -> None:
    verdicts = conform(tmp_path, "--image", gpu_image)

    assert {
        identity for identity, row in verdicts.items() if row["outcome"] == "not applicable"
    } <= {"HPO-1a", *UNSHOWN}
