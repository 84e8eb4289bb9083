"""Foreign images get the verdicts of the table in the engine too, where labels and PATH count."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from local_test.conformance import run as conformance
from local_test.conformance.catalog import CHECKS, Verdict
from local_test.runners import engine
from local_test.runners.docker import DockerRunner
from tests.contract.foreign import images
from tests.contract.test_local_test_conform import WAITS, make_subject
from tests.image.engine import build
from tests.support import PROGRAMS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]
IMAGES = {image.name: image for image in images.read()}
LABEL = "com.amazonaws.sagemaker.capabilities"
NGINX = (
    "RUN apt-get update && apt-get install --yes --no-install-recommends "
    "nginx-light python3-flask python3-gunicorn && rm -rf /var/lib/apt/lists/*"
)
SLOWER = {**vars(WAITS), "start_s": 15, "training_stop_s": 5, "serving_stop_s": 5, "ping_s": 2}


def judge(
    directory: Path, name: str, *lines: str, part: str, serves_many: bool = False
) -> dict[str, Verdict]:
    """Build an image of the table and return every verdict on it."""
    IMAGES[name].build(directory / "context", "/usr/bin/python3", "/opt/program/conformant.py")
    shutil.copy(PROGRAMS / "conformant.py", directory / "context")
    (directory / "context/python3").unlink()  # the image has its own
    base = os.environ.get("BASE_IMAGE") or "python:3.13-slim-trixie"
    program = ["COPY . /opt/program", "WORKDIR /opt/program", "ENV PATH=/opt/program:/usr/bin:/bin"]
    text = "\n".join([f"FROM {base}", *lines[:1], *program, *lines[1:]])
    (directory / "context/Dockerfile").write_text(text)
    image = build(directory / "context", "Dockerfile", f"foreign-{name.replace('_', '-')}")
    subject = make_subject(
        directory,
        runner=DockerRunner(image),
        image=engine.describe_image(image),
        can_protect=True,
        is_multi_model=serves_many,
        waits=type(WAITS)(**SLOWER),
    )
    identities = conformance.choose(
        train=part == "train", serve=part == "serve", only=(), is_url=False, has_model=True
    )
    found = {verdict.check.id: verdict for verdict in conformance.run(subject, identities)}
    assert list(found) == identities
    return found


def list_violations(verdicts: dict[str, Verdict]) -> dict[str, str]:
    """Return the evidence of each violation; how an image is kept is the engine's choice."""
    return {
        identity: verdict.evidence
        for identity, verdict in verdicts.items()
        if verdict.is_violation and identity != "IMG-9a"
    }


@pytest.mark.parametrize(
    ("name", "evidence"),
    [
        ("train_missing", "does not exist in the image"),
        ("train_not_executable", "not executable"),
        ("train_with_crlf", "Windows line ends"),
        ("train_wrong_interpreter", "interpreter of the entry point train is missing"),
    ],
)
def test_training_that_cannot_be_started_is_one_violation(
    tmp_path: Path, name: str, evidence: str
) -> None:
    violations = list_violations(judge(tmp_path, name, "", part="train"))
    assert set(violations) <= {"IMG-1a", "IMG-2a"}
    assert evidence in violations["IMG-1a"]


def test_labels_that_promise_too_much_are_caught(tmp_path: Path) -> None:
    labels = f"LABEL {LABEL}.multi-models=true {LABEL}.accept-bind-to-port=true"
    fixed = 'RUN printf "#!/bin/sh\\nunset SAGEMAKER_BIND_TO_PORT SAGEMAKER_MULTI_MODEL\\nexec '
    fixed += 'python3 /opt/program/conformant.py serve\\n" > /opt/program/serve'
    verdicts = judge(tmp_path, "sends_chunks", "", labels, fixed, part="serve", serves_many=True)
    violations = set(list_violations(verdicts))
    assert {"IMG-12b", "MME-3a", "MME-2a"} <= violations
    assert {identity for identity in violations if not identity.startswith("MME")} == {"IMG-12b"}


def test_flask_behind_nginx_and_gunicorn_keeps_the_contract(tmp_path: Path) -> None:
    verdicts = judge(tmp_path, "flask_on_gunicorn", NGINX, part="serve")
    assert set(list_violations(verdicts)) == {"HO-4b"}  # Flask's routes answer what they name
    assert verdicts["SEC-1b"].outcome == "pass"
    assert verdicts["HO-12a"].outcome == "pass"


def test_a_server_that_cannot_be_serverless_is_told_apart(tmp_path: Path) -> None:
    verdicts = judge(tmp_path, "wants_shared_memory", "", part="serve")
    assert set(list_violations(verdicts)) == {"SRV-1c"}
    assert set(verdicts) == set(CHECKS) - conformance.TRAINING_IDS
