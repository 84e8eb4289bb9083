"""Models of other tools, served without code: answers equal to those of the library itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from container.serving.third_party import kinds
from tests.environments import find_packages
from tests.support import ROOT, USER_CODE, free_port, wait_until

SERVED = {
    "boosters": {
        "xgboost": "XGBoost",
        "xgboost-classes": "XGBoost binary",
        "xgboost-categories": "XGBoost",
        "xgboost-codes": "XGBoost binary",
        "xgboost-stopped": "XGBoost",
        "xgboost-linear": "XGBoost",
        "xgboost-sagemaker": "XGBoost binary",
        "xgboost-pickled": "pickle",
        "xgboost-classifier": "pickle",
        "xgboost-frame": "pickle",
        "lightgbm-frame": "pickle",
        "catboost-pickled": "pickle",
        "lightgbm": "LightGBM",
        "lightgbm-classes": "LightGBM",
        "lightgbm-pickled": "pickle",
        "catboost": "CatBoost",
        "catboost-texts": "CatBoost",
        "catboost-labels": "CatBoost",
        "catboost-nameless": "CatBoost",
    },
    "estimators": {
        "skops": "skops",
        "skops-trees": "skops",
        "joblib": "pickle",
        "pickle": "pickle",
        "compressed": "pickle",
        "texts": "skops",
    },
    "mlflow_flavors": {
        "mlflow": "MLflow",
        "mlflow-unsigned": "MLflow",
        "mlflow-unsigned-booster": "MLflow",
        "mlflow-unsigned-module": "MLflow",
        "mlflow-types": "MLflow",
        "mlflow-tensors": "MLflow",
    },
    "torch_programs": {
        "torch.export": "torch.export",
        "torch.export-operations": "torch.export",
        "torch.export-fixed": "torch.export",
        "torch.export-indices": "torch.export",
        "torchscript": "TorchScript",
        "torchscript-indices": "TorchScript",
        "torchscript-double": "TorchScript",
        "torchscript-training": "TorchScript",
        "safetensors": "safetensors",
        "safetensors-bfloat16": "safetensors",
        "safetensors-shards": "safetensors",
        "weights": "PyTorch weights",
        "module-in-a-pickle": "pickle",
        "pickled-module": "PyTorch weights",
        "aotinductor": "AOTInductor",
    },
    "graphs": {
        "keras": "Keras",
        "keras-inputs": "Keras",
        "saved-model": "SavedModel",
        "litert": "LiteRT",
        "onnx": "ONNX",
        "onnx-fixed": "ONNX",
    },
}
"""By module of `tests/contract/models`, the models that it makes, each with its kind."""
SLOW_FAMILIES = ("mlflow_flavors", "graphs")
"""Their libraries take seconds to import, and other tests serve their models."""
SLOW = ("aotinductor", "torch.export", "torch.export-fixed", "torch.export-indices")


def list_models() -> Iterator[Any]:
    for family, models in SERVED.items():
        for name in models:
            is_slow = family in SLOW_FAMILIES or name in SLOW
            marks = [pytest.mark.slow] * is_slow
            yield pytest.param(family, name, marks=marks, id=name)


@pytest.fixture(scope="module")
def path() -> str:
    return ":".join([str(ROOT), *(str(find_packages(name)) for name in ("frameworks", "torch"))])


class Worker:
    """A process that imports the libraries of a family once; see its module."""

    def __init__(self, family: str, directory: Path, path: str) -> None:
        command = [sys.executable, "-m", "tests.contract.models.worker", family, directory]
        self.log = directory / "log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command,
                env=os.environ | {"PYTHONPATH": path, "TF_CPP_MIN_LOG_LEVEL": "3"},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )

    def serve(self, model: str) -> dict[str, Any]:
        """Make a model, ask it everything, and return what came back."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{model}\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, self.log.read_text()
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        """Let the process end."""
        self.process.communicate(timeout=40)


@pytest.fixture(scope="module")
def worker(
    tmp_path_factory: pytest.TempPathFactory, path: str
) -> Iterator[Callable[[str], Worker]]:
    """Return a function that starts the worker of a family when it is first needed."""
    started: dict[str, Worker] = {}

    def find(family: str) -> Worker:
        if family not in started:
            for other in started.values():  # two of them in memory help nobody
                other.close()
            started.clear()
            started[family] = Worker(family, tmp_path_factory.mktemp(family), path)
        return started[family]

    yield find
    for last in started.values():
        last.close()


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


def test_every_kind_of_model_is_in_the_matrix() -> None:
    served = {kind for models in SERVED.values() for kind in models.values()}
    assert served == kinds.KINDS.keys() - {"artifact"}


@pytest.mark.parametrize(("family", "model"), list(list_models()))
def test_model_answers_as_its_library_predicts(
    worker: Callable[[str], Worker], family: str, model: str
) -> None:
    answer = worker(family).serve(model)
    assert "error" not in answer, answer["error"]
    assert answer["kind"] == SERVED[family][model]
    for entry in answer["entries"]:
        asked = entry["asked"]
        if entry["refusal"]:
            assert entry["status"] == 400, (asked, entry["answer"])
            assert entry["refusal"] in entry["answer"]["error"], asked
        else:
            assert entry["status"] == 200, (asked, entry["answer"])
            assert_equal(entry["answer"], entry["expected"])


@pytest.mark.parametrize(
    ("family", "model", "found"),
    [
        ("torch_programs", "torchscript-traced-training", "aten::batch_norm, aten::dropout"),
        pytest.param(
            *("torch_programs", "torch.export-training", "aten::batch_norm, aten::dropout"),
            marks=pytest.mark.slow,
        ),
        pytest.param(
            *("graphs", "onnx-training", "BatchNormalization, Dropout"), marks=pytest.mark.slow
        ),
    ],
)
def test_a_program_in_training_mode_is_refused(
    worker: Callable[[str], Worker], family: str, model: str, found: str
) -> None:
    error = worker(family).serve(model)["error"]
    assert f"was saved in training mode ({found})" in error
    assert "call model.eval() and save it again" in error


def test_server_answers_with_a_model_in_a_folder_of_its_archive(tmp_path: Path, path: str) -> None:
    folder = tmp_path / "model/my-model-2"
    run_program("make_booster.py", folder, environ={"PYTHONPATH": path})
    with serving(tmp_path, PYTHONPATH=path) as (process, url):
        wait_until(lambda: ask(url)[0] == 200 or process.poll() is not None, timeout_s=120)
        assert process.poll() is None, (tmp_path / "log").read_text()
        expected = json.loads((folder / "expected.json").read_text())
        status, answer = ask(url, json.dumps(expected["rows"]), "application/json")
        assert (status, json.loads(answer)) == (200, {"predictions": expected["predictions"]})
        status, answer = ask(url, "[[1]]", "application/json")
        assert status == 400
        assert "['n', 2] is expected" in answer


def read_end(base: Path, **environ: str) -> str:
    """Return the log of a server that must end because it cannot serve the model."""
    with serving(base, **environ) as (process, _):
        assert process.wait(timeout=120) != 0
    return (base / "log").read_text()


def test_server_without_the_library_ends_and_names_the_line_to_add(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model/model.json").write_text('{"learner": {}}')
    log = read_end(tmp_path)
    assert "needs xgboost, which this image lacks" in log
    assert "FROM this one, with the line RUN pip install xgboost" in log


def test_server_says_how_to_convert_what_an_old_xgboost_wrote(tmp_path: Path, path: str) -> None:
    """In the binary format, which ends with XGBoost 3.0; its file begins with numbers."""
    (tmp_path / "model").mkdir()
    (tmp_path / "model/xgboost-model").write_bytes(b"\0\0\0?\2\0\0\0" + b"\xf7\x10" * 100)
    log = read_end(tmp_path, PYTHONPATH=path)
    assert "load it there, save it by booster.save_model('model.ubj')" in log


@pytest.mark.parametrize("files", [("model.joblib",), ("MLmodel", "model.pkl")], ids=len)
def test_server_refuses_a_pickle_and_says_why(tmp_path: Path, files: tuple[str, ...]) -> None:
    (tmp_path / "model").mkdir()
    for name in files:
        (tmp_path / "model" / name).write_bytes(b"")
    log = read_end(tmp_path)
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
    assert answers.pop("embedding 2") == [[[2.0], [2.0]]]
    for index in ("4", "-1"):
        found = f"the input 'second' holds {index}; it takes whole numbers, 0 to 3"
        assert answers.pop(f"embedding {index}") == found
    assert answers.pop("named") == [[4.0]]
    assert "has stateful layers (lstm_1), with which the answer" in answers.pop("stateful")
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
    assert answers.pop("example") == [200, [7.5, 6.0]]  # of docs/bring-your-own.md
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
