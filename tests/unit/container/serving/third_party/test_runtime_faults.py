"""Requests that decode and do not fit the model, as ONNX Runtime and LiteRT find out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import onnx
import pytest

from container.errors import RequestError
from container.serving.exchange import Request, Response
from container.serving.third_party import model_files, runtime_faults
from container.serving.third_party.model_application import Found, ModelApplication


def invoke(application: ModelApplication, document: Any) -> Response:
    body = json.dumps(document).encode()
    return application.invoke(Request(body, {"content-type": "application/json"}))


@pytest.fixture(scope="module")
def adder(tmp_path_factory: pytest.TempPathFactory) -> ModelApplication:
    """Load a model of ONNX that adds `x` and `y`, both `[n, ?] float32`."""
    tensor, helper = onnx.TensorProto, onnx.helper
    inputs = [helper.make_tensor_value_info(name, tensor.FLOAT, ["n", None]) for name in "xy"]
    outputs = [helper.make_tensor_value_info("z", tensor.FLOAT, None)]
    nodes = [helper.make_node("Add", ["x", "y"], ["z"])]
    graph = helper.make_graph(nodes, "fixture", inputs, outputs)
    path: Path = tmp_path_factory.mktemp("model") / "model.onnx"
    opset = helper.make_opsetid("", 17)
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=10), path)
    found = model_files.find(path.parent)
    assert found is not None
    return ModelApplication(found.load_model(), Found(found.kind, found.path))


@pytest.mark.parametrize(
    "inputs",
    [
        {"x": [[1, 2, 3]], "y": [[1, 2]]},
        {"x": [1, 2], "y": [1, 2]},
        {"x": [[[1]]], "y": [[[1]]]},
        {"x": 1, "y": 2},
        {"x": [["a"]], "y": [[1]]},
        {"x": [[1]], "z": [[1]]},
        {"x": [[1]], "y": [[{}]]},
    ],
)
def test_named_input_that_does_not_fit_is_the_clients_fault(
    adder: ModelApplication, inputs: Any
) -> None:
    """RQ-8: the answer says what is expected."""
    response = invoke(adder, {"inputs": inputs})

    assert response.status == 400, response.body
    assert invoke(adder, {"inputs": {"x": [[1]], "y": [[2]]}}).status == 200


def test_refusal_names_the_inputs_of_the_model(adder: ModelApplication) -> None:
    response = invoke(adder, {"inputs": {"x": [[1, 2, 3]], "y": [[1, 2]]}})

    message = json.loads(response.body)["error"]
    assert message.startswith("the model cannot take this input: ")
    assert "it takes 'x' [None, None] float32; 'y' [None, None] float32" in message


@pytest.mark.parametrize(
    ("error", "is_clients"),
    [
        (RuntimeError("XNNPack delegate failed to reshape runtime"), True),
        (
            RuntimeError("Check 'node.get_shape() == x' failed at src/core: dimension mismatch"),
            True,
        ),
        (ValueError("Cannot set tensor: Dimension mismatch"), True),
        (RuntimeError("gather index out of bounds\nNode number 0 (GATHER) failed"), True),
        (IndexError("index out of range in self"), True),  # of an embedding of PyTorch
        (IndexError("list index out of range"), False),
        (RuntimeError("the device is lost"), False),
        (MemoryError(), False),
        (KeyError("model"), False),
    ],
)
def test_only_what_the_input_causes_is_the_clients_fault(
    error: Exception, is_clients: bool
) -> None:
    expected = RequestError if is_clients else type(error)

    with pytest.raises(expected), runtime_faults.as_client_faults(object()):
        raise error
