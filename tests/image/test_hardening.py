"""The images without root, writable file system or capabilities, and with little memory."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from tests.image.engine import (
    TEST_ROWS,
    build,
    docker,
    exit_code,
    read_test_rows,
    request,
    running,
    wait_until_healthy,
    write_job,
)
from tests.support import ROOT

pytestmark = [pytest.mark.image, pytest.mark.timeout(600)]

# A serverless endpoint's worst: any user, nothing but /tmp to write to (SRV-1), 64 MB of shared
# memory (IMG-16).
CONFINED = (
    *("--read-only", "--tmpfs", "/tmp"),  # noqa: S108 - inside the container
    *("--user", "12345:12345", "--cap-drop", "ALL"),
    *(
        "--security-opt",
        "no-new-privileges",
        "--memory",
        "512m",
        "--cpus",
        "1",
        "--shm-size",
        "64m",
    ),
)

# The jobs of the tests make namespaces, and leave orphans to process 1. --privileged would do, but
# engines that run inside a container themselves have not all that it gives.
NAMESPACES = (
    *("--init", "--cap-add", "SYS_ADMIN", "--cap-add", "NET_ADMIN"),
    *("--security-opt", "seccomp=unconfined", "--security-opt", "apparmor=unconfined"),
)


@pytest.fixture(params=["image", "serve_image"])
def either_image(request: pytest.FixtureRequest) -> str:
    """Return the full image, then the one that only serves."""
    name: str = request.getfixturevalue(request.param)
    return name


def test_a_confined_server_answers(either_image: str, trained_job: Path) -> None:
    options = (
        *CONFINED,
        "--volume",
        f"{trained_job}/model:/opt/ml/model:ro",
        "--publish",
        "127.0.0.1::8080",
    )
    with running(either_image, "serve", options=options) as container:
        status, body = request(
            f"{wait_until_healthy(container)}/invocations", read_test_rows(trained_job)
        )
        log = docker("logs", container)
    assert status == 200, log
    assert len(json.loads(body)["predictions"]) == TEST_ROWS


def test_a_confined_training_job_finishes(image: str, tmp_path: Path) -> None:
    base = write_job(tmp_path / "ml", {"epochs": "2"})
    for name in ("model", "output"):
        (base / name).mkdir()
        (base / name).chmod(0o777)
    with running(image, "train", options=(*CONFINED, "--volume", f"{base}:/opt/ml")) as container:
        code, log = exit_code(container), docker("logs", container)
    assert code == 0, log
    assert (base / "model/model.json").exists()


def test_training_with_too_little_memory_ends_with_137(image: str, tmp_path: Path) -> None:
    base = write_job(tmp_path / "ml", {})
    options = ("--memory", "140m", "--memory-swap", "140m", "--volume", f"{base}:/opt/ml")
    with running(image, "train", options=options) as container:
        assert exit_code(container) == 137


def test_the_serving_image_says_that_it_cannot_train(serve_image: str, tmp_path: Path) -> None:
    base = write_job(tmp_path / "ml", {})
    with running(serve_image, "train", options=("--volume", f"{base}:/opt/ml")) as container:
        assert exit_code(container) == 1
    assert "TensorFlow" in (base / "output/failure").read_text()[:1024]


def test_pip_is_the_locked_one(either_image: str, checkout: Path) -> None:
    lock = (checkout / "docker/requirements-pip.txt").read_text()
    [version] = re.findall(r"^pip==(\S+)", lock, re.MULTILINE)

    assert docker("run", "--rm", either_image, "pip", "--version").startswith(f"pip {version} from")


def test_the_rows_of_csv_are_decoded_in_c(either_image: str) -> None:
    script = (
        "import ctypes; from container.serving.bodies import rows; "
        "print(rows.load(ctypes.CDLL) is not None, rows.LIBRARY.exists())"
    )
    assert docker("run", "--rm", either_image, "python", "-c", script) == "True True\n"


def test_the_bill_of_materials_is_valid_and_names_every_package(either_image: str) -> None:
    text = docker("run", "--rm", either_image, "cat", "/opt/bill-of-materials/sbom.cdx.json")
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    components = {(part["name"], part["version"]) for part in json.loads(text)["components"]}
    installed = json.loads(docker("run", "--rm", either_image, "pip", "list", "--format", "json"))
    assert {
        (part["name"].lower().replace("_", "-").replace(".", "-"), part["version"])
        for part in installed
    } <= components
    packages = docker(
        "run",
        "--rm",
        either_image,
        "dpkg-query",
        "--show",
        "--showformat",
        "${Package} ${Version}\n",
    )
    assert {tuple(line.split()) for line in packages.splitlines()} <= components


def test_every_python_package_declares_its_license(either_image: str) -> None:
    rows = docker(
        "run", "--rm", either_image, "cat", "/opt/bill-of-materials/licenses.csv"
    ).splitlines()
    assert [row for row in rows if row.startswith("pypi,") and row.endswith(",unknown")] == []


@pytest.mark.slow
@pytest.mark.timeout(5400)
def test_the_test_rings_pass_inside_the_image(image: str, tmp_path: Path) -> None:
    """The tests pass in the image: what make_environment.py removes is not needed."""
    context = tmp_path / "context"
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    for name in listed.split("\0"):
        if (
            name
            and not name.startswith("container/")
            and name != ".dockerignore"
            and (ROOT / name).exists()
        ):
            (context / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, context / name)
    (context / "Rings").write_text(f"""
        FROM {image}
        # The tests' own tools.
        RUN apt-get update -qq && apt-get install -qq --yes --no-install-recommends \\
            curl git iproute2 procps >/dev/null
        RUN --mount=type=cache,target=/root/.cache/pip \\
            --mount=type=bind,source=tests,target=/tests \\
            pip install --quiet --require-hashes --no-deps --requirement /tests/requirements.txt
        COPY . /checkout
        RUN ln -s /opt/program/container /checkout/container
        WORKDIR /checkout
    """)
    build(context, "Rings", "byo-test-rings")
    try:
        rings = (
            "--numprocesses",
            "2",
            "--dist",
            "loadfile",
            "-m",
            "not slow",
            "tests/unit",
            "tests/contract",
        )
        with running("byo-test-rings", "pytest", "-q", *rings, options=NAMESPACES) as container:
            code, log = exit_code(container), docker("logs", container)
        assert code == 0, log[-8000:]
    finally:
        docker("rmi", "byo-test-rings")
