"""The commands of each example's README, run as they stand there."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("sagemaker_training", reason="docker/requirements-scripts.txt is not installed")

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted(path.parent for path in (ROOT / "examples").glob("*/README.md"))
EXPECTED = {
    "scikit-learn": r'^\["virginica"\]$',
    "mnist": r"\A(Completed .*\n)?(label \d  prediction \d  score [01]\.\d+\n){10}[\s\S]*test_accuracy=0\.9\d+;",
    "image-folder": r'^\{"predictions": \[\[[0-9., e-]+\]\]\}$',
    "pictures": r'^\{"best": \[\{"label": 7, "score": [01]\.\d+\}',
    "shell-script": r"^distribution$",
    "from-image": r"^\[0\.0, 5\.0\]$",
}


def test_every_example_has_a_readme_and_an_expected_answer() -> None:
    assert {path.name for path in EXAMPLES} == EXPECTED.keys()
    assert {path.name for path in (ROOT / "examples").iterdir() if path.is_dir()} == EXPECTED.keys()
    table = (ROOT / "examples/README.md").read_text()
    assert all(f"`{name}`" in table for name in EXPECTED)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_readme_commands_of_the_example_give_its_answer(example: Path, tmp_path: Path) -> None:
    [commands] = re.findall(r"^```bash\n(.*?)^```", (example / "README.md").read_text(), re.DOTALL | re.MULTILINE)
    for name in ("examples", "local_test", "container", "LICENSE"):  # a checkout whose build/ is this test's own
        (tmp_path / name).symlink_to(ROOT / name)
    environ = os.environ | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "LOCAL_TEST_JOBS": str(tmp_path / "jobs"),
        "TF_CPP_MIN_LOG_LEVEL": "2",
    }
    result = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands],
        cwd=tmp_path,
        env=environ,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    everything = result.stdout + result.stderr
    assert result.returncode == 0, everything
    assert re.search(EXPECTED[example.name], everything, re.MULTILINE), everything
