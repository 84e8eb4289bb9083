"""Runs models of each kind behind one interface: arrays in, arrays out.

A runtime is imported when its first model is loaded. Several inputs or outputs go by name, one goes
without.

Several threads may call `predict` of one model: those of a `gthread` worker, and those that a
user's handlers start. LiteRT's interpreter keeps inputs and outputs between its calls, so it has a
lock. ONNX Runtime's `InferenceSession.Run` and TensorFlow's functions are thread-safe.
"""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from container import artifact, machine
from container.errors import RequestError, UserError

_ONNX_TYPES: Final[dict[str, Any]] = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(uint8)": np.uint8,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(float16)": np.float16,
}


class Model(Protocol):
    """A loaded model."""

    input_shape: tuple[int | None, ...] | None
    """One instance's, without the batch; None if it is unknown, or there are several inputs."""

    def predict(self, data: Any) -> Any:
        """Predict a batch; thread-safe.

        Raises: RequestError 400 if an input is missing or does not fit.
        """


class _LiteRt:
    def __init__(self, path: Path) -> None:
        interpreter: Any = importlib.import_module("ai_edge_litert.interpreter")
        self._interpreter = interpreter.Interpreter(str(path), num_threads=_count_threads())
        self._interpreter.allocate_tensors()
        self._inputs = self._interpreter.get_input_details()
        self._outputs = self._interpreter.get_output_details()
        self.input_shape = _find_input_shape([detail["shape"].tolist() for detail in self._inputs])
        self._turn = threading.Lock()

    def predict(self, data: Any) -> Any:
        arrays = [_pick(data, detail["name"], detail["dtype"]) for detail in self._inputs]
        with self._turn:
            return self._run(arrays)

    def _run(self, arrays: list[NDArray[Any]]) -> Any:
        for detail, array in zip(self._inputs, arrays, strict=True):
            if tuple(detail["shape"]) != array.shape:
                self._interpreter.resize_tensor_input(detail["index"], array.shape)
                detail["shape"] = array.shape
        self._interpreter.allocate_tensors()
        for detail, array in zip(self._inputs, arrays, strict=True):
            self._interpreter.set_tensor(detail["index"], array)
        self._interpreter.invoke()
        get = self._interpreter.get_tensor
        return _unwrap({detail["name"]: get(detail["index"]) for detail in self._outputs})


class _Onnx:
    def __init__(self, path: Path) -> None:
        onnxruntime: Any = importlib.import_module("onnxruntime")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = _count_threads()
        providers = onnxruntime.get_available_providers()
        self._session = onnxruntime.InferenceSession(str(path), options, providers=providers)
        self._inputs = self._session.get_inputs()
        self._output_names = [output.name for output in self._session.get_outputs()]
        self.input_shape = _find_input_shape([put.shape for put in self._inputs])

    def predict(self, data: Any) -> Any:
        feed = {put.name: _pick(data, put.name, _ONNX_TYPES.get(put.type)) for put in self._inputs}
        outputs = self._session.run(self._output_names, feed)
        return _unwrap(dict(zip(self._output_names, outputs, strict=True)))


class _SavedModel:
    def __init__(self, path: Path) -> None:
        self._tf: Any = importlib.import_module("tensorflow")
        self._loaded = self._tf.saved_model.load(str(path))  # keeps the function's variables alive
        signatures = self._loaded.signatures
        if not signatures:
            message = f"{path} has no signature; export it with one called serving_default"
            raise UserError(message)
        first = next(iter(signatures.values()))
        self._function = signatures.get("serving_default", first)
        self._inputs = self._function.structured_input_signature[1]
        known = [put.shape for put in self._inputs.values() if put.shape.rank]
        self.input_shape = None
        if len(known) == len(self._inputs):
            self.input_shape = _find_input_shape([shape.as_list() for shape in known])

    def predict(self, data: Any) -> Any:
        feed = {}
        for name, put in self._inputs.items():
            dtype = None if put.dtype == "string" else put.dtype.as_numpy_dtype
            feed[name] = self._tf.constant(_pick(data, name, dtype))
        return _unwrap({name: output.numpy() for name, output in self._function(**feed).items()})


class _Keras:
    def __init__(self, path: Path) -> None:
        keras: Any = importlib.import_module("keras")
        tf: Any = importlib.import_module("tensorflow")
        model = keras.models.load_model(path, compile=False)
        self._function = tf.function(
            lambda inputs: model(inputs, training=False), reduce_retracing=True
        )
        self._inputs = model.inputs
        self.input_shape = _find_input_shape([put.shape for put in self._inputs])

    def predict(self, data: Any) -> Any:
        if isinstance(data, dict):
            outputs = self._function({put.name: _pick(data, put.name) for put in self._inputs})
        else:
            outputs = self._function(_cast(data, np.dtype(self._inputs[0].dtype)))
        if isinstance(outputs, (list, tuple)):
            outputs = {f"output_{index}": output for index, output in enumerate(outputs)}
        if not isinstance(outputs, dict):
            return outputs.numpy()
        return _unwrap({name: output.numpy() for name, output in outputs.items()})


class _Artifact:
    def __init__(self, path: Path) -> None:
        from container import predictor

        found = artifact.load(path)
        self._predictor = predictor.load(found)
        self.input_shape = found.manifest.input_shape

    def predict(self, data: Any) -> Any:
        return self._predictor.predict(_cast(data, np.uint8))


RUNTIMES: Final[dict[str, Callable[[Path], Any]]] = {
    "LiteRT": _LiteRt,
    "ONNX": _Onnx,
    "SavedModel": _SavedModel,
    "Keras": _Keras,
    "artifact": _Artifact,
}


def _count_threads() -> int:
    return max(1, int(machine.count_cpus()))


def _find_input_shape(shapes: list[Any]) -> tuple[int | None, ...] | None:
    """Return the shape of one instance, without the batch, if there is one input."""
    if len(shapes) != 1 or not shapes[0]:
        return None
    return tuple(size if isinstance(size, int) else None for size in shapes[0][1:])


def _pick(data: Any, name: str, dtype: Any = None) -> NDArray[Any]:
    """Pick the array of one input; a single array, named or not, is every input's."""
    if not isinstance(data, dict):
        return _cast(data, dtype)
    if name in data:
        return _cast(data[name], dtype)
    if len(data) != 1:
        raise RequestError(400, f"the input {name!r} is missing; given: {', '.join(data)}")
    [array] = data.values()
    return _cast(array, dtype)


def _cast(array: Any, dtype: Any) -> NDArray[Any]:
    """Cast numbers to the model's type; a fraction for an integer input is refused, not rounded."""
    array = np.asarray(array)
    if dtype is None or array.dtype == dtype:
        return np.ascontiguousarray(array)
    name = np.dtype(dtype).name
    try:
        cast = array.astype(dtype)
    except (ValueError, TypeError, OverflowError) as error:
        raise RequestError(400, f"the input must be {name}: {error}") from error
    if np.issubdtype(dtype, np.integer) and not np.array_equal(cast, array):
        raise RequestError(400, f"the input must be {name}; {array.dtype} does not fit it")
    return np.ascontiguousarray(cast)


def _unwrap(outputs: dict[str, Any]) -> Any:
    return next(iter(outputs.values())) if len(outputs) == 1 else outputs
