"""Clients that ask at the same time get their own answers, whatever runs the model (HO-14).

Each client's bodies hold other images, and another number of them, than every other client's.
"""

import json
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

CLIENTS = 8
REQUESTS = 12
# They keep a request in a global, as code for a server of one request at a time may.
HANDLERS = """
import time
def model_fn(model_dir):
    return 0
def input_fn(data, content_type):
    global received
    received = data
    time.sleep(0.0005)
def predict_fn(data, model):
    time.sleep(0.0005)
    return received[:200] + received[-100:]
def output_fn(prediction, accept):
    return prediction
"""


def copy_model(name: str) -> Callable[[Path, Path], None]:
    def make(artifact: Path, model_dir: Path) -> None:
        if (artifact / name).is_dir():
            shutil.copytree(artifact / name, model_dir / name)
        else:
            shutil.copy(artifact / name, model_dir)

    return make


def copy_artifact(artifact: Path, model_dir: Path) -> None:
    shutil.copytree(artifact, model_dir, dirs_exist_ok=True)


def make_onnx(_: Path, model_dir: Path) -> None:
    """Make a model of digits that sums what each of ten weights lets through."""
    tensor, helper = onnx.TensorProto, onnx.helper
    weights = np.random.default_rng(0).random((64, 10), np.float32)
    nodes = [helper.make_node("Flatten", ["x"], ["flat"])]
    nodes.append(helper.make_node("MatMul", ["flat", "weights"], ["y"]))
    graph = helper.make_graph(
        nodes,
        "fixture",
        [helper.make_tensor_value_info("x", tensor.FLOAT, ["n", 8, 8, 1])],
        [helper.make_tensor_value_info("y", tensor.FLOAT, ["n", 10])],
        [onnx.numpy_helper.from_array(weights, "weights")],
    )
    opset = helper.make_opsetid("", 17)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=10)
    onnx.save(model, model_dir / "model.onnx")


def write_handlers(_: Path, model_dir: Path) -> None:
    (model_dir / "code").mkdir()
    (model_dir / "code/inference.py").write_text(HANDLERS)


LIGHT: dict[str, tuple[Callable[[Path, Path], None], dict[str, str]]] = {
    "artifact on LiteRT": (copy_artifact, {"BYO_RUNTIME": "litert"}),
    "third-party LiteRT": (copy_model("model.tflite"), {}),
    "third-party ONNX": (make_onnx, {}),
    "handlers": (write_handlers, {}),
}
HEAVY: dict[str, tuple[Callable[[Path, Path], None], dict[str, str]]] = {
    "artifact on OpenVINO": (copy_artifact, {"BYO_RUNTIME": "openvino"}),
    "artifact on TensorFlow": (copy_artifact, {"BYO_RUNTIME": "saved_model"}),
    "artifact on TensorFlow, not batched": (
        copy_artifact,
        {"BYO_RUNTIME": "saved_model", "BYO_BATCH_IMAGES": "1"},
    ),
    "artifact on Keras, not batched": (
        copy_artifact,
        {"BYO_RUNTIME": "keras", "BYO_BATCH_IMAGES": "1"},
    ),
    "third-party SavedModel": (copy_model("saved_model"), {}),
    "third-party Keras": (copy_model("model.keras"), {}),
}
KINDS = LIGHT | HEAVY


@pytest.mark.parametrize("worker_class", ["event", "gthread"])
@pytest.mark.parametrize(
    "kind", [*LIGHT, *(pytest.param(kind, marks=pytest.mark.slow) for kind in HEAVY)]
)
def test_each_client_gets_its_own_answers(
    kind: str, worker_class: str, artifact_base: Path, tmp_path: Path, serve: Any
) -> None:
    """HO-14: one interpreter without a lock mixed the answers of a `gthread` worker's clients."""
    make, environ = KINDS[kind]
    model_dir = tmp_path / "model"
    model_dir.mkdir()
    make(artifact_base / "model", model_dir)
    generator = np.random.default_rng(0)
    bodies = []
    for client in range(CLIENTS):
        images = generator.integers(0, 256, (1 + client % 5, 8, 8, 1))
        bodies.append(json.dumps({"instances": images.tolist()}))
    environ |= {
        "SAGEMAKER_GUNICORN_WORKER_CLASS": worker_class,
        "SAGEMAKER_MODEL_SERVER_WORKERS": "1",
    }
    faults: list[str] = []

    with serve(tmp_path, **environ) as server:

        def ask(client: int) -> tuple[int, bytes]:
            headers = {"Content_Type": "application/json"}
            status, _, body = server.request("POST", "/invocations", bodies[client], **headers)
            return status, body

        expected = [ask(client) for client in range(CLIENTS)]
        assert {status for status, _ in expected} == {200}, server.log.read_text()[-3000:]
        assert len(set(expected)) == CLIENTS

        def ask_again(client: int) -> None:
            for _ in range(REQUESTS):
                status, body = ask(client)
                if (status, body) != expected[client] and not is_close(body, expected[client][1]):
                    faults.append(f"client {client} got {status}: {body[:100]!r}")

        threads = [threading.Thread(target=ask_again, args=(client,)) for client in range(CLIENTS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert faults == []


def is_close(found: bytes, expected: bytes) -> bool:
    """Return whether two answers differ only by rounding, as those of batches may."""
    try:
        (found_rows, expected_rows) = (json.loads(body) for body in (found, expected))
        key = "outputs" if "outputs" in expected_rows else "predictions"
        return np.allclose(found_rows[key], expected_rows[key], atol=1e-5)
    except (ValueError, KeyError, TypeError):
        return False
