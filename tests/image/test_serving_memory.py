"""Servers of users' code in real containers with little memory, and many models in one of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.image.engine import docker, exit_code, request, running, wait_until_healthy
from tests.support import wait_until

pytestmark = pytest.mark.image

HANDLER = """
import os
import numpy as np

def model_fn(model_dir):
    return np.ones(int(open(os.path.join(model_dir, "megabytes")).read()) << 17)

def transform_fn(model, data, content_type, accept):
    return str(os.getpid()), "text/plain"
"""


def write_model(root: Path, megabytes: int) -> Path:
    (root / "code").mkdir(parents=True)
    (root / "megabytes").write_text(str(megabytes))
    (root / "code/inference.py").write_text(HANDLER)
    return root


def limit(base: Path, megabytes: int, **environ: str) -> tuple[str, ...]:
    variables = [f"--env={name}={value}" for name, value in environ.items()]
    memory = f"{megabytes}m"
    mount = f"{base}:/opt/ml"
    options = ("--memory", memory, "--memory-swap", memory, "--cpus", "2", "--volume", mount)
    return (*options, *variables, "--publish", "127.0.0.1::8080")


def test_a_model_of_320_mb_is_served_by_as_many_workers_as_500_mb_hold(
    serve_image: str, tmp_path: Path
) -> None:
    write_model(tmp_path / "model", 320)
    with running(serve_image, "serve", options=limit(tmp_path, 500)) as container:
        url = wait_until_healthy(container)
        wait_until(lambda: "0 more start" in docker("logs", container))
        answers = {request(f"{url}/invocations", b"1") for _ in range(4)}
    assert {status for status, _ in answers} == {200}
    assert len(answers) == 1


@pytest.mark.parametrize(
    ("megabytes", "workers"), [(320, ""), (500, "1"), (200, "3")], ids=["none", "one", "three"]
)
def test_what_does_not_fit_names_the_setting(
    serve_image: str, tmp_path: Path, megabytes: int, workers: str
) -> None:
    write_model(tmp_path / "model", megabytes)
    options = limit(tmp_path, 300, SAGEMAKER_MODEL_SERVER_WORKERS=workers)
    with running(serve_image, "serve", options=options) as container:
        code = exit_code(container)
        log = docker("logs", container)
    assert code == 1, log
    assert f"SAGEMAKER_MODEL_SERVER_WORKERS={workers or 1}" in log


def test_many_models_give_way_before_the_kernel_kills(serve_image: str, tmp_path: Path) -> None:
    for name in "abc":
        write_model(tmp_path / "models" / name / "model", 150)
    options = limit(tmp_path, 500, SAGEMAKER_MULTI_MODEL="true")
    with running(serve_image, "serve", options=options) as container:
        url = wait_until_healthy(container)

        def load(name: str) -> int:
            order = {"model_name": name, "url": f"/opt/ml/models/{name}/model"}
            return request(f"{url}/models", json.dumps(order).encode())[0]

        assert [load(name) for name in "abc"] == [200, 200, 507]
        assert request(f"{url}/models/a/invoke", b"1")[0] == 200
        assert request(f"{url}/models/b/invoke", b"1")[0] == 200
