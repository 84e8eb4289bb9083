"""What a model of several inputs is fed with, shown with ONNX Runtime."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from container.errors import RequestError
from container.serving.user_code import model_runtimes


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> model_runtimes.Model:
    """Load a model that multiplies `x` [n, 2] float32 by `factor` [1] int64."""
    tensor, helper = onnx.TensorProto, onnx.helper
    nodes = [
        helper.make_node("Cast", ["factor"], ["float_factor"], to=tensor.FLOAT),
        helper.make_node("Mul", ["x", "float_factor"], ["y"]),
    ]
    inputs = [
        helper.make_tensor_value_info("x", tensor.FLOAT, ["n", 2]),
        helper.make_tensor_value_info("factor", tensor.INT64, [1]),
    ]
    outputs = [helper.make_tensor_value_info("y", tensor.FLOAT, ["n", 2])]
    graph = helper.make_graph(nodes, "fixture", inputs, outputs)
    path: Path = tmp_path_factory.mktemp("model") / "model.onnx"
    opset = helper.make_opsetid("", 17)
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=10), path)
    loaded: model_runtimes.Model = model_runtimes.RUNTIMES["ONNX"](path)
    return loaded


def test_inputs_go_by_name_and_are_cast_to_the_models_types(model: model_runtimes.Model) -> None:
    prediction = model.predict({"x": [[1, 2]], "factor": np.array([3.0])})

    assert prediction.tolist() == [[3, 6]]
    assert prediction.dtype == np.float32
    assert model.input_shape is None  # there are several


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"x": [[1, 2]], "y": [3]}, r"the input 'factor' is missing; given: x, y"),
        ({"x": [[1, 2]], "factor": [0.5]}, r"must be int64; float64 does not fit it"),
        ({"x": [["a", "b"]], "factor": [1]}, r"must be float32: could not convert"),
    ],
)
def test_input_that_is_missing_or_does_not_fit_is_the_clients_fault(
    model: model_runtimes.Model, data: Any, message: str
) -> None:
    with pytest.raises(RequestError, match=message) as caught:
        model.predict(data)

    assert caught.value.status == 400
