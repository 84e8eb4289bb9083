"""The commands of each example's README, run unchanged."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from container.developer import init
from tests.environments import combine, install_apart
from tests.support import ROOT, free_port

pytest.importorskip("sagemaker_training", reason="docker/requirements-scripts.txt is not installed")

EXAMPLES = sorted(path.parent for path in (ROOT / "examples").glob("*/README.md"))
EXPECTED = {  # the answer, then what is logged: the output comes before the errors
    "scikit-learn": r'^\["virginica"\]$',
    # The processing job finds what the end of the training job has found.
    "mnist": r"^(label \d  prediction \d  score [01]\.\d+\n){10}"
    r"[\s\S]*(test_accuracy=0\.9\d+;)[\s\S]*\2",
    "image-folder": r'^\{"predictions": \[\[[0-9., e-]+\]\]\}$',
    "pictures": r'^\{"best": \[\{"label": 7, "score": [01]\.\d+\}',
    "shell-script": r"^distribution$",
    "from-image": r"^\[0\.0, 5\.0\]$",
    "xgboost": r"^\[[\d.e-]+, [\d.e-]+\]$[\s\S]*validation_error=0\.0\d+;",
    "lightgbm": r"^\[2\]$[\s\S]*validation_error=0\.[01]\d+;",
    "tabular": r"^\[\d+\.\d+, \d+\.\d+\]$[\s\S]*validation_r2=0\.9\d+;",
    "jax": r"^\[0, 1, 2\]$[\s\S]*validation_accuracy=0\.9\d+;",
    "lightning": r"^\[0, 1, 2\]$[\s\S]*validation_accuracy=0\.9\d+;",
    "hugging-face": r'^\[\{"label": "positive", "score": [\d.]+\}, \{"label": "negative", ',
}
PACKAGES = {
    "xgboost": ("frameworks",),
    "lightgbm": ("frameworks",),
    "tabular": ("frameworks",),
    "jax": ("examples",),
    "lightning": ("torch", "examples"),
    "hugging-face": ("torch", "examples"),
}
"""The environments of `tests/requirements-NAME.txt` that an example needs besides ours. Such an
example is slow: pip looks at several hundred packages, twice."""


LONG = {*PACKAGES, "image-folder", "mnist", "pictures", "scikit-learn"}
"""They train with TensorFlow for a minute, as other tests do, or run in tests/image as well."""


def test_every_example_has_a_readme_and_an_expected_answer() -> None:
    assert {path.name for path in EXAMPLES} == EXPECTED.keys()
    directories = {path.name for path in (ROOT / "examples").iterdir() if path.is_dir()}
    # No projects: docs/batch.md and docs/delivery.md explain them.
    assert directories == EXPECTED.keys() | {"batch", "cdk", "terraform"}
    table = (ROOT / "examples/README.md").read_text()
    assert all(f"`{name}`" in table for name in EXPECTED)


@pytest.mark.parametrize(
    "example",
    [
        pytest.param(path, id=path.name, marks=[pytest.mark.slow] * (path.name in LONG))
        for path in EXAMPLES
    ],
)
def test_readme_commands_of_the_example_give_its_answer(example: Path, tmp_path: Path) -> None:
    everything = run_readme(example / "README.md", tmp_path, *PACKAGES.get(example.name, ()))
    assert re.search(EXPECTED[example.name], everything, re.MULTILINE), everything


@pytest.mark.parametrize("kind", ["script", "algorithm", "shell"])
def test_new_project_trains_and_serves_as_it_is(kind: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "container", "init", "my project", "--kind", kind]
    environ = os.environ | {"PYTHONPATH": str(ROOT)}
    subprocess.run(command, cwd=tmp_path, env=environ, check=True, capture_output=True)
    everything = run_readme(tmp_path / "my project/README.md", tmp_path)
    assert "no errors found" in everything
    assert re.search(r"^\[0\.0, 5\.0\]$", everything, re.MULTILINE), everything
    again = subprocess.run(
        command, cwd=tmp_path, env=environ, check=False, capture_output=True, text=True
    )
    assert again.returncode == 1
    assert "nothing was written" in again.stderr


@pytest.mark.slow
def test_new_torch_project_trains_serves_and_trains_on_two_hosts(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "container", "init", "mine", "--kind", "torch"]
    environ = os.environ | {"PYTHONPATH": str(ROOT)}
    subprocess.run(command, cwd=tmp_path, env=environ, check=True, capture_output=True)
    readme = tmp_path / "mine/README.md"
    port = f"--instance-count 2 --env MASTER_PORT={free_port()} --env OMP_NUM_THREADS=1"
    readme.write_text(readme.read_text().replace("--instance-count 2", port, 1))
    everything = run_readme(readme, tmp_path, "torch")
    assert "no errors found" in everything
    assert re.search(r"^\[-?\d+\.\d+, -?\d+\.\d+\]$", everything, re.MULTILINE), everything
    assert re.search(r"algo-1 \| .*epoch=20; train_loss=", everything), everything
    assert everything.count("Completed file://") == 2


@pytest.mark.slow
def test_new_torch_project_learns_pictures_in_folders_and_serves_one(tmp_path: Path) -> None:
    init.write(tmp_path / "mine", "torch")
    readme = tmp_path / "mine/README.md"
    (tmp_path / "mine/data/numbers.csv").unlink()
    colors = {"blue": (20, 30, 220), "green": (30, 220, 40), "red": (220, 30, 20)}
    for name, color in colors.items():
        folder = tmp_path / "mine/data" / name
        folder.mkdir()
        for number in range(20):
            size = (40 + number, 30)
            Image.new("RGB", size, tuple(part + number for part in color)).save(
                folder / f"{number}.{'png' if number % 2 else 'jpg'}"
            )
        (folder / "notes.txt").write_text("not a picture")
    Image.new("RGB", (64, 48), (225, 25, 30)).save(tmp_path / "mine/request.png")
    port = f"--instance-count 2 --env MASTER_PORT={free_port()} --env OMP_NUM_THREADS=1"
    commands = readme.read_text().replace("--instance-count 2", port, 1)
    readme.write_text(commands.replace("request.csv", "request.png --content-type image/png"))

    everything = run_readme(readme, tmp_path, "torch")

    assert re.search(r'^\{"class": "red", "scores": \{"blue": ', everything, re.MULTILINE), (
        everything
    )
    assert "pictures=60; classes=3; ignored=3;" in everything
    assert everything.count("Completed file://") == 2


def run_readme(readme: Path, directory: Path, *packages: str) -> str:
    """Run a README's commands in a checkout whose `build/` is the test's own; return the output.

    `packages` are environments whose packages are installed besides ours.
    """
    [commands] = re.findall(r"^```bash\n(.*?)^```", readme.read_text(), re.DOTALL | re.MULTILINE)
    programs = Path(sys.executable).parent
    if packages:
        programs = combine(directory / "environment", *packages)
    for name in ("examples", "local_test", "container", "LICENSE"):
        (directory / name).symlink_to(ROOT / name)
    environ = os.environ | {
        "PATH": f"{programs}:{os.environ['PATH']}",
        # Lightning loads mpi4py, which is there, and so it has to find MPI.
        "LD_LIBRARY_PATH": ":".join(str(install_apart(name) / "lib") for name in packages),
        "LOCAL_TEST_JOBS": str(directory / "jobs"),
        "TF_CPP_MIN_LOG_LEVEL": "2",
    }
    result = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands],
        cwd=directory,
        env=environ,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    everything = result.stdout + result.stderr
    assert result.returncode == 0, everything
    return everything
