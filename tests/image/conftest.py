"""What the image ring shares: the image is built once, and one job is trained in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.image.engine import build, docker, exit_code, running, write_job


@pytest.fixture(scope="session")
def image() -> str:
    """Give the name of the image that is built from this checkout."""
    return build("Dockerfile.cpu", "byo-test-cpu")


@pytest.fixture(scope="session")
def serve_image(image: str) -> str:  # noqa: ARG001 - one build at a time, and the second finds the first's layers
    """Give the name of the image that only serves."""
    return build("Dockerfile.cpu", "byo-test-serve", "--target", "serve")


@pytest.fixture(scope="session")
def trained_job(image: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give `/opt/ml` after `docker run IMAGE train` on digits."""
    base = write_job(tmp_path_factory.mktemp("trained") / "ml", {})
    with running(image, "train", options=("--volume", f"{base}:/opt/ml")) as container:
        code = exit_code(container)
        (base.parent / "log").write_text(docker("logs", container))
    assert code == 0, (base.parent / "log").read_text()
    return base
