"""The wheel in a fresh environment, from `byo init` to `byo down`."""

from __future__ import annotations

import shlex
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.support import ROOT

pytestmark = pytest.mark.slow


class Machine:
    """A home, an environment with the package, and a project's folder."""

    def __init__(self, directory: Path) -> None:
        """Build the wheel, and install it with the base dependencies only."""
        self.home = directory
        built = subprocess.run(
            [ROOT / "scripts/build", directory / "dist"], check=True, capture_output=True, text=True
        )
        [self.wheel] = [line for line in built.stdout.split() if line.endswith(".whl")]
        self.python = directory / "venv/bin/python"
        subprocess.run([sys.executable, "-m", "venv", directory / "venv"], check=True)
        self.install(self.wheel)

    def install(self, requirement: str) -> None:
        """Install from the package index that pip finds."""
        command = [self.python, "-m", "pip", "install", "--quiet", requirement]
        subprocess.run(command, check=True, cwd=self.home)

    def run(
        self, command: str, *, cwd: Path | None = None, **environ: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a command as a user of this machine."""
        kept = {"PATH": f"{self.python.parent}:/usr/bin:/bin", "HOME": str(self.home)}
        return subprocess.run(
            shlex.split(command),
            cwd=cwd or self.home,
            env={**kept, "LOCAL_AWS_DIRECTORY": str(self.home / "aws"), **environ},
            capture_output=True,
            text=True,
            check=False,
            timeout=500,
        )

    def must(self, command: str, *, cwd: Path | None = None, **environ: str) -> str:
        """Run a command that succeeds; return what it prints."""
        done = self.run(command, cwd=cwd, **environ)
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Machine:
    machine = Machine(tmp_path_factory.mktemp("machine"))
    machine.must("byo init p")
    return machine


def test_the_wheel_holds_the_program_and_no_test(machine: Machine) -> None:
    with zipfile.ZipFile(machine.wheel) as wheel:
        names = wheel.namelist()
    tops = {name.partition("/")[0] for name in names}
    assert tops == {"byo.py", "container", "local_test", "byo_sagemaker-0.1.0.dist-info"}
    own = [name for name in names if "/templates/" not in name]  # a project of init has tests
    assert not [name for name in own if "tests" in name or "__pycache__" in name]
    assert not [name for name in names if name.endswith((".so", ".pyc"))]


def test_the_base_is_light(machine: Machine) -> None:
    installed = machine.must(f"{machine.python} -m pip list --format freeze")
    names = {line.partition("==")[0] for line in installed.split()}
    heavy = {"tensorflow", "tensorflow-cpu", "moto", "scipy", "scikit-learn", "optuna"}
    assert names.isdisjoint(heavy)


def test_a_project_trains_serves_and_is_judged(machine: Machine) -> None:
    project = machine.home / "p"
    assert machine.must("byo smoke", cwd=project).endswith("[0.0, 5.0]\n")
    assert (project / "jobs/training").is_dir()
    machine.must("byo doctor .", cwd=project)
    judged = machine.must('byo conform --program "python -m container" --serve', cwd=project)
    assert "0 MUST violated" in judged


def test_a_project_of_init_passes_its_own_tests(machine: Machine) -> None:
    machine.install("pytest")
    printed = machine.must(f"{machine.python} -m pytest", cwd=machine.home / "p")
    assert "2 passed" in printed


def test_an_algorithm_trains_without_the_toolkit(machine: Machine) -> None:
    machine.must("byo init q --kind algorithm")
    machine.must("byo train", cwd=machine.home / "q")


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        ("byo up", "the local AWS needs moto, which is not installed"),
        ("byo smoke", "needs sklearn, which is not installed"),
        ("byo train --debug 5678 -c training=p/data", "--debug needs debugpy"),
    ],
)
def test_a_missing_extra_is_one_sentence(machine: Machine, command: str, sentence: str) -> None:
    done = machine.run(command)
    assert done.returncode == 2
    last = done.stderr.splitlines()[-1]
    assert sentence in last
    assert "pip install 'byo-sagemaker[" in last


def test_the_bundled_trainer_says_which_extra_has_it(machine: Machine) -> None:
    done = machine.run("byo train -c training=p/data")
    assert done.returncode == 1
    assert "pip install 'byo-sagemaker[trainer]'" in done.stderr


def test_boto3_walks_through_the_local_aws(machine: Machine) -> None:
    machine.install(f"{machine.wheel}[aws]")  # the extra of the wheel that is there
    machine.must("byo up")
    try:
        exports = [line for line in machine.must("byo env").splitlines() if "=" in line]
        variables = dict(shlex.split(line)[1].partition("=")[::2] for line in exports)
        walk = f"{machine.python} {ROOT / 'tests/contract/boto3_walk.py'}"
        printed = machine.must(walk, cwd=machine.home / "p", **variables)
    finally:
        machine.must("byo down --force")
    assert printed.splitlines()[0].startswith("Completed s3://byo-walk/")
    assert printed.endswith("[0.0, 5.0]\n")
