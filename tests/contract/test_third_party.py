"""Models of other tools, served without code: answers equal to those of the library itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.environments import find_packages
from tests.support import ROOT, USER_CODE, free_port, wait_until

SLOW_KINDS = (
    "catboost",
    "mlflow",
    "safetensors",
    "skops",
    "torch.export",
    "torchscript-indices",
    "weights",
    "xgboost-ubj",
)
KINDS = (
    "joblib",
    "lightgbm",
    "torchscript",
    "xgboost",
    *(pytest.param(kind, marks=pytest.mark.slow) for kind in SLOW_KINDS),
)
"""The first four differ most in how the server finds, loads and asks a model."""


@pytest.fixture(scope="module")
def path() -> str:
    return ":".join([str(ROOT), *(str(find_packages(name)) for name in ("frameworks", "torch"))])


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory, path: str) -> Path:
    """Train a model of each kind, and ask its library for predictions."""
    directory: Path = tmp_path_factory.mktemp("models")
    run_program("make_models.py", directory, environ={"PYTHONPATH": path})
    return directory


def run_program(name: str, *arguments: Path, environ: dict[str, str] | None = None) -> str:
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-W", "ignore", USER_CODE / name, *arguments]
    result = subprocess.run(
        command,
        env=os.environ | quiet | (environ or {}),
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


@contextmanager
def serving(base: Path, **environ: str) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """Start the server on the model directory below `base`; yield it and its address."""
    port = free_port()
    own = {
        "SAGEMAKER_BASE_DIR": str(base),
        "SAGEMAKER_BIND_TO_PORT": str(port),
        "SAGEMAKER_MODEL_SERVER_WORKERS": "1",
        "PYTHONPATH": str(ROOT),
    }
    with (base / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "container", "serve"],
            env=os.environ | own | environ,
            stdout=log,
            stderr=log,
        )
    try:
        yield process, f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=40)


def ask(url: str, body: str | None = None, content_type: str = "") -> tuple[int, str]:
    """POST to /invocations, or GET /ping without a body; the status is 0 while nothing listens."""
    request = urllib.request.Request(f"{url}/ping")
    if body is not None:
        headers = {"Content-Type": content_type}
        request = urllib.request.Request(f"{url}/invocations", body.encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()
    except OSError:
        return 0, ""


def assert_equal(found: Any, expected: Any) -> None:
    """Compare nested lists and dictionaries of numbers or texts."""
    if isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for name in expected:
            assert_equal(found[name], expected[name])
    elif isinstance(expected, list) and isinstance(expected[0], dict):
        for found_row, row in zip(found, expected, strict=True):
            assert_equal(found_row, row)
    elif np.asarray(expected).dtype.kind == "U":
        assert found == expected
    else:
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("kind", KINDS)
def test_model_answers_as_its_library_predicts(models: Path, path: str, kind: str) -> None:
    case = json.loads((models / kind / "case.json").read_text())
    with serving(models / kind, PYTHONPATH=path, **case["environ"]) as (process, url):
        wait_until(lambda: ask(url)[0] == 200 or process.poll() is not None, timeout_s=120)
        assert process.poll() is None, (models / kind / "log").read_text()
        for content_type, body, expected in case["good"]:
            status, answer = ask(url, body, content_type)
            assert status == 200, (body, answer)
            [found] = json.loads(answer).values()
            assert_equal(found, expected)
        for content_type, body, words in case["bad"]:
            status, answer = ask(url, body, content_type)
            assert (status, words in json.loads(answer)["error"]) == (400, True), (body, answer)


def read_end(base: Path, **environ: str) -> str:
    """Return the log of a server that must end because it cannot serve the model."""
    with serving(base, **environ) as (process, _):
        assert process.wait(timeout=120) != 0
    return (base / "log").read_text()


def test_server_without_the_library_ends_and_names_the_line_to_add(models: Path) -> None:
    log = read_end(models / "xgboost")
    assert "needs xgboost, which this image lacks" in log
    assert "FROM this one, with the line RUN pip install xgboost" in log


@pytest.mark.parametrize("kind", ["joblib", "mlflow"])
def test_server_refuses_a_pickle_and_says_why(models: Path, path: str, kind: str) -> None:
    log = read_end(models / kind, PYTHONPATH=path)
    assert "may run any code when" in log
    assert "BYO_ALLOW_PICKLE=true" in log


@pytest.mark.slow
def test_keras_models_of_every_age_and_name_are_served(tmp_path: Path) -> None:
    [line] = run_program("ask_keras_models.py", tmp_path).splitlines()[-1:]
    answers = json.loads(line)
    expected = answers.pop("expected")
    for name in ("upper.H5", "long.hdf5", "no-suffix", "two.h5", "two.keras"):
        np.testing.assert_allclose(answers.pop(name), expected, atol=1e-6, err_msg=name)
    nested = answers.pop("nested expected")
    np.testing.assert_allclose(answers.pop("two nested"), nested, atol=1e-6)
    assert answers.pop("text") == answers.pop("text expected")
    assert answers.pop("text csv") == answers.pop("text csv expected")
    assert "must be text; numbers" in answers.pop("text refused")
    first, *_ = answers.pop("custom").splitlines()
    assert "uses 'Scale', whose code is not in the file; add code/inference.py" in first
    assert "keras.saving.register_keras_serializable()" in first
    assert answers.pop("custom with code") == [[2.0, 4.0]]
    lines = answers.pop("two refused")
    assert "was written by Keras 2.15.0, and Keras 3" in lines
    assert "save it by model.export(...)" in lines
    assert "DepthwiseConv2D has the argument groups=2, which Keras 3 lacks" in lines
    assert not answers


def test_handler_that_annotates_its_data_gets_a_frame(path: str) -> None:
    """With the real pandas: names, types, and what is missing."""
    answers = json.loads(run_program("ask_frames.py", environ={"PYTHONPATH": path}))
    frames = {name: answer for name, (status, answer) in answers.items() if status == 200}
    assert {name: frame[0] for name, frame in frames.items()} == {
        "header": ["city", "age"],
        "no header": ["age", "city"],
        "records": ["city", "age"],
        "split": ["city", "age"],
        "rows": ["age", "city"],
        "lines": ["age", "city"],
        "npy": ["age", "city"],
        "libsvm": ["age", "city"],
    }
    assert frames["header"][1][1] == "int64"
    assert frames["header"][2] == [[False, False], [True, False]]
    assert frames["no header"][1][0] == "float64"
    assert frames["no header"][2] == [[False, False], [True, False]]
    assert frames["split"][2] == [[False, True]]
    assert frames["lines"][2] == [[False, False], [True, False]]
    refused = {name: answer["error"] for name, (status, answer) in answers.items() if status != 200}
    assert "the model has 2: age, city" in refused["wrong width"]
    assert "one shape" in refused["ragged"]
    assert "holds no table" in refused["picture"]
