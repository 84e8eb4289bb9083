"""What a model of several inputs is fed with, shown with ONNX Runtime."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from container.errors import RequestError
from container.serving.third_party import model_files
from container.serving.third_party.signature import TEXT, Model, Tensor, Tensors, cast, to_array


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
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
    return model_files.ModelFile("ONNX", path).load_model()


def test_inputs_go_by_name_and_are_cast_to_the_models_types(model: Model) -> None:
    prediction = model.predict({"x": [[1, 2]], "factor": np.array([3.0])})

    assert prediction.tolist() == [[3, 6]]
    assert prediction.dtype == np.float32


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            {"x": [[1, 2]], "y": [3]},
            r"input 'factor' is missing; the model has no input 'y'; it takes 'x', 'factor'",
        ),
        (
            {"x": [[1, 2]], "factor": [0.5]},
            r"the input 'factor' must be int64; float64 does not fit it",
        ),
        (
            {"x": [["a", "b"]], "factor": [1]},
            r"the input 'x' must be a number \(float32\); 'a' was found",
        ),
    ],
)
def test_input_that_is_missing_or_does_not_fit_is_the_clients_fault(
    model: Model, data: Any, message: str
) -> None:
    with pytest.raises(RequestError, match=message) as caught:
        model.predict(data)

    assert caught.value.status == 400


@pytest.mark.parametrize(
    ("shape", "given", "fitted"),
    [
        ((None, 2), (3, 2), (3, 2)),
        ((None, 2), (2,), (1, 2)),
        ((None, 2, 3), (4, 6), (4, 2, 3)),
        ((None, 2, 3), (2, 3), (1, 2, 3)),
        ((None, 2, 3, 1), (4, 2, 3), (4, 2, 3, 1)),
        ((None, 1, 2, 3), (4, 2, 3), (4, 1, 2, 3)),
        ((None, 1), (4,), (4, 1)),
        ((None,), (4, 1), (4,)),
        ((None, None, 3), (4, 7, 3), (4, 7, 3)),
        ((), (1,), ()),
        ((None, 2), (4, 3), None),
        ((None, 2), (1, 4), None),
        ((None, 2, 3), (4, 3, 2), None),
        ((None, 3, 8, 8), (1, 8, 8, 3), None),
        ((None, None, 3), (7, 3), None),
        ((None, 2), (0, 2), None),
    ],
)
def test_shape_fits_without_a_guess_or_is_the_clients_fault(
    shape: tuple[int | None, ...], given: tuple[int, ...], fitted: tuple[int, ...] | None
) -> None:
    tensor = Tensor("x", None, shape)
    if fitted is None:
        with pytest.raises(RequestError, match=r"the input 'x' has the shape .* is expected"):
            tensor.fit(np.zeros(given))
    else:
        assert tensor.fit(np.zeros(given)).shape == fitted


@pytest.mark.parametrize(
    ("value", "dtype", "message"),
    [
        ([300], "uint8", "uint8; int64 does not fit it"),
        ([float("nan")], "int32", "int32"),
        ([1e300], "float32", "a number is too large"),
        ([10**400], "float32", "float32"),
        ([2], "bool", "bool"),
        (["1.5"], "float32", "'1.5' was found"),
        ([1, "a"], "float32", "'a' was found"),
        ([1, None], "float32", "null was found"),
        ([{}], "float32", r"\{\} was found"),
        ([1], "O", "text; numbers"),
        (["a", 1], "O", "text; 1 was found"),
    ],
)
def test_type_that_does_not_fit_is_the_clients_fault(value: Any, dtype: str, message: str) -> None:
    with pytest.raises(RequestError, match=f"the input must be .*{message}"):
        cast(to_array(value), np.dtype(dtype), "the input")


def test_text_goes_in_as_it_is() -> None:
    assert cast(to_array(["a", b"\0\0"]), TEXT, "x").tolist() == ["a", b"\0\0"]
    assert cast(to_array([10**19]), np.dtype("float64"), "x").tolist() == [1e19]


def test_batch_of_a_fixed_size_is_cut_and_filled() -> None:
    signature = Tensors([Tensor("x", None, (2, 3))])
    sizes = []

    def run(feed: dict[str, Any]) -> dict[str, Any]:
        sizes.append(feed["x"].shape)
        return {"y": feed["x"].sum(axis=1)}

    assert signature.run(np.arange(15).reshape(5, 3), run).tolist() == [3, 12, 21, 30, 39]
    assert sizes == [(2, 3)] * 3


def test_inputs_of_a_fixed_batch_must_agree() -> None:
    signature = Tensors([Tensor("x", None, (2, 1)), Tensor("y", None, (2, 1))])
    data = {"x": np.zeros((3, 1)), "y": np.zeros((4, 1))}
    with pytest.raises(RequestError, match=r"equally many instances; given: \{'x': 3, 'y': 4\}"):
        signature.run(data, dict)
    with pytest.raises(RequestError, match=r"has 2 inputs; send .* with x, y"):
        signature.bind(np.zeros((2, 2)))
