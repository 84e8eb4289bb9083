"""The artefact's three models behind the same server."""

import gzip
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[3]


def test_every_runtime_gives_the_probabilities_of_keras_in_every_media_type(
    artifact_base: Path, digits: Any, tmp_path: Path
) -> None:
    """S6."""
    images, labels = digits["test"]
    rows = np.column_stack([labels, images.reshape(len(images), -1)])[:100]
    with gzip.open(tmp_path / "digits.csv.gz", "wt") as stream:
        np.savetxt(stream, rows, "%d", ",", header="label", comments="")
    program = [sys.executable, ROOT / "benchmarks/serving_agreement.py", artifact_base / "model"]

    result = subprocess.run([*program, tmp_path / "digits.csv.gz"], capture_output=True, text=True, check=False)

    assert result.returncode == 0, result.stdout + result.stderr[-3000:]
    assert "100 images" in result.stdout
    assert result.stdout.count("| image/") == 3


def test_runtime_that_the_image_lacks_ends_the_server_with_its_reason(tmp_path: Path, run_to_its_end: Any) -> None:
    """HO-6: a stand-in for TensorFlow that cannot be imported, as in the image that only serves."""
    (tmp_path / "tensorflow.py").write_text("raise ImportError('not here')")

    result = run_to_its_end(BYO_RUNTIME="saved_model", PYTHONPATH=os.pathsep.join([str(tmp_path), str(ROOT)]))

    assert result.returncode == 3
    assert "the runtime saved_model needs TensorFlow, which this image lacks" in result.stdout + result.stderr


def test_unknown_runtime_is_refused_with_what_is_possible(run_to_its_end: Any) -> None:
    result = run_to_its_end(BYO_RUNTIME="onnx")

    assert result.returncode == 1
    assert "BYO_RUNTIME='onnx': expected one of litert, saved_model, keras" in result.stderr
