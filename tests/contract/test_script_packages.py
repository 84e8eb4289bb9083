"""What user code needs is installed for its job, and never into our own environment."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from container.developer import init
from tests.contract.training_job import Job, make_wheel
from tests.support import ROOT

pytest.importorskip("sagemaker_training", reason="docker/requirements-scripts.txt is not installed")

ISOLATED = {"TRAINING_JOB_ARN": "arn:aws:sagemaker:eu-west-1:1:training-job/x", "PIP_NO_INDEX": "1"}
REPORT = """
import json, os, pathlib, sys
import byo_fixture_wheel, flask
seen = {
    "name": byo_fixture_wheel.NAME,
    "flask": getattr(flask, "NAME", "ours"),
    "numpy": __import__("numpy").__version__,
    "python": sys.executable,
}
pathlib.Path(os.environ["SM_MODEL_DIR"], "seen.json").write_text(json.dumps(seen))
"""


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job(tmp_path / "ml")


def fingerprint(directory: Path) -> str:
    """Hash every path, size and time of change below `directory`, and what pip would change."""
    digest = hashlib.sha256()
    for folder, names, files in os.walk(directory):
        names[:] = sorted(set(names) - {"__pycache__"})
        for name in sorted(files):
            status = Path(folder, name).lstat()
            digest.update(f"{folder}/{name} {status.st_size} {status.st_mtime_ns}".encode())
    return digest.hexdigest()


def write_program(job: Job, text: str = REPORT, **files: str) -> None:
    code = job.base / "code"
    code.mkdir(parents=True, exist_ok=True)
    (code / "train.py").write_text(text)
    for name, content in files.items():
        path = code / name.replace("__", "/").replace("_txt", ".txt").replace("_toml", ".toml")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


def read_seen(job: Job) -> dict[str, str]:
    seen: dict[str, str] = json.loads((job.base / "model/seen.json").read_text())
    return seen


def test_pins_that_conflict_with_ours_are_the_jobs_own(job: Job) -> None:
    """The program gets its versions, and our environment is unchanged byte for byte."""
    make_wheel(job.base / "code/wheels", "byo_fixture_wheel")
    make_wheel(job.base / "code/wheels", "flask", "0.0.1")
    write_program(job, requirements_txt="byo_fixture_wheel==1.0\nflask==0.0.1\nnumpy\n")
    ours = Path(metadata.distribution("pip").locate_file(""))
    before = fingerprint(ours)

    result = job.train()

    assert result.returncode == 0, result.stderr.decode()
    assert fingerprint(ours) == before
    seen = read_seen(job)
    assert (seen["name"], seen["flask"]) == ("byo_fixture_wheel", "flask")
    assert seen["numpy"] == metadata.version("numpy")
    assert not Path(seen["python"]).exists(), "the environment outlives its job"
    versions = json.loads((job.base / "model/.versions.json").read_text())
    assert (versions["flask"], versions["byo_fixture_wheel"]) == ("0.0.1", "1.0")


@pytest.mark.slow  # the test above and those of handlers check the same of each command
def test_a_smoke_with_conflicting_pins_leaves_our_environment_as_it_is(tmp_path: Path) -> None:
    """As `python -m local_test smoke` of a project whose `requirements.txt` has an old Flask."""
    project = tmp_path / "project"
    init.write(project, "script")
    make_wheel(tmp_path / "index", "flask", "0.0.1")
    (project / "code/requirements.txt").write_text("flask==0.0.1\nnumpy\n")
    with (project / "code/train.py").open("a") as file:
        file.write("import flask\nprint('the flask of', flask.NAME)\n")
    ours = Path(metadata.distribution("pip").locate_file(""))
    before = fingerprint(ours)

    command = [sys.executable, "-m", "local_test", "smoke", "--no-evaluation"]
    command += ["-c", f"code={project}/code", "-c", f"training={project}/data"]
    command += ["-e", f"PIP_FIND_LINKS={tmp_path}/index", "-e", "PIP_NO_INDEX=1"]
    environ = os.environ | {"PYTHONPATH": str(ROOT), "LOCAL_TEST_JOBS": str(tmp_path / "jobs")}
    done = subprocess.run(
        [*command, "--body", str(project / "request.csv")],
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert "the flask of flask\n" in done.stderr
    assert done.stdout.endswith("[0.0, 5.0]\n")
    assert fingerprint(ours) == before


def test_a_conflict_that_cannot_be_installed_names_both_sides(job: Job) -> None:
    write_program(job, requirements_txt="flask==0.0.1\n")
    assert job.train(PIP_NO_INDEX="1").returncode == 1
    assert job.failure.startswith("InstallRequirementsError:")
    assert f"flask==0.0.1 against flask {metadata.version('flask')}" in job.failure[:1024]


LOCK = """
lock-version = "1.0"
created-by = "test"
[[packages]]
name = "byo-fixture-wheel"
version = "1.0"
wheels = [{{ name = "{name}", path = "wheels/{name}", hashes = {{ sha256 = "{digest}" }} }}]
[[packages]]
name = "no-such-package"
version = "1.0"
marker = "sys_platform == 'win32'"
wheels = [{{ name = "none.whl", url = "https://none", hashes = {{ sha256 = "{digest}" }} }}]
"""


def test_the_versions_of_a_lock_are_installed_and_its_hashes_checked(job: Job) -> None:
    wheels = job.base / "code/wheels"
    make_wheel(wheels, "byo_fixture_wheel")
    make_wheel(wheels, "byo_fixture_wheel", "2.0", "raise ImportError('not the locked version')\n")
    locked = wheels / "byo_fixture_wheel-1.0-py3-none-any.whl"
    digest = hashlib.sha256(locked.read_bytes()).hexdigest()
    write_program(job, pylock_toml=LOCK.format(name=locked.name, digest=digest))
    result = job.train()
    assert result.returncode == 0, (result.stdout + result.stderr).decode()
    assert read_seen(job)["name"] == "byo_fixture_wheel"

    (job.base / "code/pylock.toml").write_text(LOCK.format(name=locked.name, digest="0" * 64))
    result = job.train()
    assert result.returncode == 1
    assert b"DO NOT MATCH THE HASHES" in result.stderr


def test_requirements_under_network_isolation_are_refused_with_the_reason(job: Job) -> None:
    write_program(job, requirements_txt="byo-fixture-that-is-nowhere==1.0\n")
    assert job.train(**ISOLATED).returncode == 1
    assert job.failure.startswith("InstallRequirementsError:")
    assert "bake the packages into the image" in job.failure[:1024]
    assert "byo-fixture-that-is-nowhere" in job.failure[:1024]


def test_requirements_that_the_image_has_need_no_network(job: Job) -> None:
    write_program(
        job,
        "import os; open(os.environ['SM_MODEL_DIR'] + '/m', 'w').close()",
        requirements_txt="numpy\n",
    )
    result = job.train(**ISOLATED)
    assert result.returncode == 0, result.stderr.decode()


def test_requirements_of_a_shell_script_are_reported(job: Job) -> None:
    job.add_code("end.sh", "end.py")
    (job.base / "code/requirements.txt").write_text("no-such-package\n")
    result = job.train(SAGEMAKER_PROGRAM="end.sh")
    assert b"requirements.txt is not installed for a program that is not Python" in result.stdout
