"""ONNX graphs (`.onnx`), by ONNX Runtime, whose `run` is thread-safe."""

import importlib
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from container import machine
from container.serving.third_party.loaders import onnx_training
from container.serving.third_party.loaders.pytorch import training_mode
from container.serving.third_party.model_files import Choice
from container.serving.third_party.signature import TEXT, Tensor, Tensors, make_shape

_TYPES: Final[dict[str, np.dtype[Any]]] = {
    "float16": np.dtype(np.float16),
    "float": np.dtype(np.float32),
    "double": np.dtype(np.float64),
    "bool": np.dtype(np.bool_),
    "string": TEXT,
    **{
        name: np.dtype(name)
        for sign in ("", "u")
        for name in (f"{sign}int8", f"{sign}int16", f"{sign}int32", f"{sign}int64")
    },
}


class OnnxModel:
    """An ONNX model."""

    def __init__(self, path: Path, _: Choice) -> None:
        onnxruntime: Any = importlib.import_module("onnxruntime")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = machine.count_library_threads()
        providers = onnxruntime.get_available_providers()
        self._session = onnxruntime.InferenceSession(str(path), options, providers=providers)
        training_mode.refuse(path, onnx_training.list_calls(path))
        self._output_names = [output.name for output in self._session.get_outputs()]
        self.signature = Tensors([_describe(put) for put in self._session.get_inputs()])

    def predict(self, data: Any) -> Any:
        """Predict a batch."""
        return self.signature.run(data, self._run)

    def _run(self, feed: dict[str, NDArray[Any]]) -> dict[str, Any]:
        outputs = self._session.run(self._output_names, feed)
        return dict(zip(self._output_names, map(_unpack, outputs), strict=True))


def _describe(put: Any) -> Tensor:
    name = put.type.removeprefix("tensor(").removesuffix(")")
    return Tensor(put.name, _TYPES.get(name), make_shape(put.shape))


def _unpack(output: Any) -> Any:
    """Return the values of ZipMap, a dictionary for each row, as an array."""
    if isinstance(output, list) and output and isinstance(output[0], dict):
        return np.array([list(row.values()) for row in output])
    return np.asarray(output)
