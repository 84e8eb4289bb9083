"""What the image ring shares: the image is built once, and one job is trained in it."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.image.engine import build, docker, exit_code, running, write_job
from tests.support import PROGRAMS, ROOT


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a new, committed checkout of the files that images are built from."""
    root = tmp_path_factory.mktemp("checkout")
    for name in ("container", "docker"):
        shutil.copytree(
            ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__", "*.so")
        )
    for path in (
        *ROOT.glob("Dockerfile.*"),
        ROOT / ".dockerignore",
        ROOT / ".gitignore",
        ROOT / "build_and_push.sh",
    ):
        shutil.copy2(path, root)
    git = [
        "git",
        "-C",
        str(root),
        "-c",
        "user.name=test",
        "-c",
        "user.email=test@localhost",
        "-c",
        "commit.gpgsign=false",
    ]
    for command in (
        ["init", "--quiet"],
        ["add", "."],
        ["commit", "--quiet", "--message", "test: a checkout"],
    ):
        subprocess.run([*git, *command], check=True)
    return root


@pytest.fixture(scope="session")
def image(checkout: Path) -> str:
    """Return the name of the full CPU image."""
    return build(checkout, "Dockerfile.cpu", "byo-test-cpu")


@pytest.fixture(scope="session")
def serve_image(checkout: Path) -> str:
    """Return the name of the image that only serves."""
    return build(checkout, "Dockerfile.cpu", "byo-test-serve", "--target", "serve")


@pytest.fixture(scope="session")
def trained_job(image: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return `/opt/ml` after `docker run IMAGE train` on digits."""
    base = write_job(tmp_path_factory.mktemp("trained") / "ml", {})
    with running(image, "train", options=("--volume", f"{base}:/opt/ml")) as container:
        code = exit_code(container)
        (base.parent / "log").write_text(docker("logs", container))
    assert code == 0, (base.parent / "log").read_text()
    return base


@pytest.fixture(scope="session")
def user_image(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the name of an image of `aws_user.py`, for tests of the local AWS."""
    context = tmp_path_factory.mktemp("user-image")
    shutil.copy(PROGRAMS / "aws_user.py", context)
    base = os.environ.get("BASE_IMAGE") or "python:3.13-slim-trixie"
    label = "LABEL com.amazonaws.sagemaker.capabilities.accept-bind-to-port=true"
    lines = [f"FROM {base}", label, "COPY aws_user.py /", 'ENTRYPOINT ["python3", "/aws_user.py"]']
    (context / "Dockerfile").write_text("\n".join(lines))
    return build(context, "Dockerfile", "byo-test-aws-user")
