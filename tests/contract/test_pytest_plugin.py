"""The plug-in for pytest, in runs of pytest in a user's repository."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from container.developer import init
from local_test.testing.local_sagemaker import FindingWarning, Settings
from tests.support import PROGRAMS, ROOT

PAGE = (ROOT / "docs/delivery.md").read_text(encoding="utf-8")
USERS_TEST = """
import json
import urllib.request

import pytest
from container.errors import RequestError


def test_variables(sagemaker):
    run = sagemaker.train(environment={"MINE": "1"}, metrics={"epoch": "epoch=([0-9]+)"})
    assert run.result.description["Environment"] == {"MINE": "1", "EVERYWHERE": "yes"}
    assert run.metrics == {"epoch": 0.0}


def test_a_client_of_its_own(endpoint):
    request = urllib.request.Request(endpoint.url, b"[[2, 3]]", method="POST")
    with urllib.request.urlopen(request) as answer:
        assert json.load(answer)["echo"] == "[[2, 3]]"


def test_headers(endpoint):
    answer = endpoint.invoke("2,3", custom_attributes="mine")
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["attributes"] == "mine"
    assert endpoint.invoke(b"refuse").status == 415
    with pytest.raises(RequestError, match="CustomAttributes: expected at most 1024"):
        endpoint.invoke("2,3", custom_attributes="x" * 1025)


@pytest.fixture
def failing_job(sagemaker):
    return sagemaker.train(hyperparameters={"failure": "the disk of this test is full"})


def test_a_job_that_fails(failing_job):
    pass
"""


def run_pytest(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run pytest as a user of the installed package does: the entry point loads the plug-in."""
    command = [sys.executable, "-m", "pytest", "-p", "local_test.testing.plugin"]
    alone = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}  # the others take a second to load
    places = {"PYTHONPATH": str(ROOT), "PYTEST_DEBUG_TEMPROOT": str(project.parent)}
    return subprocess.run(
        [*command, "-p", "no:cacheprovider", *arguments],
        cwd=project,
        env={**os.environ, **places, **alone},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def test_a_program_is_trained_and_served_and_a_failure_is_explained(tmp_path: Path) -> None:
    project = tmp_path / "project"
    (project / "data").mkdir(parents=True)
    (project / "data/a.csv").write_text("1,2\n")
    (project / "test_it.py").write_text(USERS_TEST)
    program = f"sagemaker_program = {shlex.join([sys.executable, str(PROGRAMS / 'aws_user.py')])}"
    (project / "pytest.ini").write_text(
        f"[pytest]\n{program}\nsagemaker_env =\n    EVERYWHERE=yes\n"
    )
    done = run_pytest(project)
    assert "3 passed, 1 error" in done.stdout, done.stdout + done.stderr
    assert "JobFailedError: the training job failed: " in done.stdout
    assert "the disk of this test is full" in done.stdout
    assert "Captured stderr setup" in done.stdout
    assert "epoch=0; validation_accuracy=" in done.stdout
    assert not (project / "jobs").exists()


def test_a_finding_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/a.csv").write_text("1,2\n")
    sagemaker = Settings(program="true").make(tmp_path, tmp_path / "jobs")
    with pytest.warns(FindingWarning, match="is empty: the container wrote nothing there"):
        assert sagemaker.train().log == ""


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["script", "algorithm", "shell"])
def test_a_project_of_init_passes_its_tests_and_those_of_the_page(
    tmp_path: Path, kind: str
) -> None:
    project = tmp_path / "project"
    init.write(project, kind)
    for number, block in enumerate(re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)):
        (project / f"tests/test_page_{number}.py").write_text(block)
    if kind != "script":  # the page shows what this kind of project does with text
        (project / "tests/test_page_1.py").unlink()
    done = run_pytest(project)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{5 if kind == 'script' else 3} passed" in done.stdout
