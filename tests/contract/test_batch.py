"""Model directories that `serve` serves, in Ray Data and Spark: answers equal to the model's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from container import artifact, predictor
from container.batch.local_model import LocalModel
from container.errors import PlatformError, UserError
from tests.environments import find_packages
from tests.support import ROOT

EXAMPLES = ROOT / "examples/batch"
HANDLERS = """
import numpy as np

def model_fn(model_dir):
    return 10.0

def predict_fn(rows, model):
    if rows.shape[1] != 2:
        raise ValueError("two columns, please")
    return np.column_stack([rows.sum(axis=1), rows.sum(axis=1) * model])
"""


@pytest.fixture
def handlers(tmp_path: Path) -> Path:
    """Return a model directory with handlers."""
    (tmp_path / "model/code").mkdir(parents=True)
    (tmp_path / "model/code/inference.py").write_text(HANDLERS)
    return tmp_path / "model"


def run(engine: str, *arguments: str | Path) -> None:
    """Run an example in an environment that has its engine."""
    paths = [str(ROOT), str(find_packages(engine))]
    command = [sys.executable, "-W", "ignore", *map(str, arguments)]
    environ = os.environ | {"PYTHONPATH": ":".join(paths), "PYSPARK_PYTHON": sys.executable}
    environ |= {"RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0", "SPARK_LOCAL_IP": "127.0.0.1"}
    done = subprocess.run(
        command, env=environ, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]


def test_the_bundled_network_answers_as_its_predictor_does(digits_job: Path) -> None:
    found = artifact.load(digits_job / "model")
    images = np.random.default_rng(0).integers(0, 256, (300, *found.manifest.input_shape), np.uint8)

    answers = LocalModel(digits_job / "model").predict(images)

    np.testing.assert_allclose(answers, predictor.load(found).predict(images), atol=1e-6)


def test_handlers_answer_arrays_and_their_failures_are_raised(handlers: Path) -> None:
    model = LocalModel(handlers)
    np.testing.assert_array_equal(model.predict(np.array([[1.0, 2.0]])), [[3.0, 30.0]])
    with pytest.raises(PlatformError, match="its log has the reason under this request id"):
        model.predict(np.zeros((1, 3)))
    with pytest.raises(UserError, match="is not a directory"):
        LocalModel(handlers / "nothing")


@pytest.mark.slow
def test_ray_data_predicts_with_handlers(handlers: Path, tmp_path: Path) -> None:
    rows = np.arange(1000.0).reshape(500, 2)
    np.save(tmp_path / "rows.npy", rows)

    run("ray", EXAMPLES / "ray_data.py", handlers, tmp_path / "rows.npy", tmp_path / "out")

    parts = [np.load(path) for path in (tmp_path / "out").glob("*.npy")]
    answers = np.concatenate(parts)
    sums = rows.sum(axis=1)
    ordered = answers[answers[:, 0].argsort()]
    np.testing.assert_array_equal(ordered, np.column_stack([sums, 10 * sums]))


@pytest.mark.slow
def test_ray_data_predicts_with_the_bundled_network(digits_job: Path, tmp_path: Path) -> None:
    found = artifact.load(digits_job / "model")
    images = np.random.default_rng(0).integers(0, 256, (300, *found.manifest.input_shape), np.uint8)
    np.save(tmp_path / "rows.npy", images)

    model = digits_job / "model"
    run("ray", EXAMPLES / "ray_data.py", model, tmp_path / "rows.npy", tmp_path / "out")

    answers = np.concatenate([np.load(path) for path in sorted((tmp_path / "out").glob("*.npy"))])
    expected = predictor.load(found).predict(images)
    np.testing.assert_allclose(answers, expected, atol=1e-5)


@pytest.mark.slow
def test_spark_predicts_with_handlers(handlers: Path, tmp_path: Path) -> None:
    lines = [f"{number},{2 * number},{2 * number + 1}" for number in range(500)]
    (tmp_path / "rows.csv").write_text("\n".join(["id,a,b", *lines]) + "\n")

    run("spark", EXAMPLES / "spark.py", handlers, tmp_path / "rows.csv", tmp_path / "out.jsonl")

    lines = (tmp_path / "out.jsonl").read_text().splitlines()
    found = {answer["id"]: answer["prediction"] for answer in map(json.loads, lines)}
    assert found == {number: [4.0 * number + 1, 40.0 * number + 10] for number in range(500)}
