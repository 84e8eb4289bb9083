"""The CPU image for Graviton instances (IMG-8), built and run under emulation."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from pathlib import Path

import pytest

from tests.image.engine import (
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

pytestmark = [pytest.mark.image, pytest.mark.slow, pytest.mark.timeout(5400)]
PLATFORM = ("--platform", "linux/arm64")


@pytest.fixture(scope="module")
def base() -> tuple[str, ...]:
    """Return the build options of the base: the default has arm64, a stand-in is made."""
    if (
        platform.machine() not in ("aarch64", "arm64")
        and not Path("/proc/sys/fs/binfmt_misc/qemu-aarch64").exists()
    ):
        pytest.skip(
            "no emulation of arm64; Debian 13's qemu-user-binfmt is one, Debian 12's QEMU crashes "
            "LiteRT"
        )
    if "BASE_IMAGE" not in os.environ:
        return PLATFORM
    name = "byo-stand-in-base:trixie-arm64"
    subprocess.run([ROOT / "docker/make_stand_in_base.sh", *PLATFORM, name], check=True)
    return (*PLATFORM, "--build-arg", f"BASE_IMAGE={name}")


def test_the_serving_image_answers_as_on_amd64(
    checkout: Path, base: tuple[str, ...], serve_image: str, trained_job: Path
) -> None:
    name = build(checkout, "Dockerfile.cpu", "byo-test-arm64-serve", "--target", "serve", *base)
    answers = []
    for image, chosen in ((name, PLATFORM), (serve_image, ())):
        options = (
            "--volume",
            f"{trained_job}/model:/opt/ml/model:ro",
            "--publish",
            "127.0.0.1::8080",
            *chosen,
        )
        with running(image, "serve", options=options) as container:
            status, body = request(
                f"{wait_until_healthy(container)}/invocations", read_test_rows(trained_job)
            )
        assert status == 200, body
        answers.append(json.loads(body))
    there, here = answers
    assert [p["label"] for p in there["predictions"]] == [p["label"] for p in here["predictions"]]
    assert [pytest.approx(row, abs=1e-5) for row in here["outputs"]] == there["outputs"]
    assert docker("run", "--rm", *PLATFORM, name, "uname", "-m") == "aarch64\n"


def test_the_whole_image_trains(checkout: Path, base: tuple[str, ...], tmp_path: Path) -> None:
    name = build(checkout, "Dockerfile.cpu", "byo-test-arm64", *base)
    job = write_job(tmp_path / "ml", {"epochs": "2"})
    with running(name, "train", options=("--volume", f"{job}:/opt/ml", *PLATFORM)) as container:
        code, log = exit_code(container), docker("logs", container)
    assert code == 0, log
    # On amd64 it reaches 0.85.
    assert json.loads((job / "output/data/metrics.json").read_text())["accuracy"] >= 0.8
