"""LiteRT flatbuffers (`.tflite`)."""

import importlib
import threading
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from container import machine
from container.serving.third_party.model_files import Choice
from container.serving.third_party.signature import Shape, Tensor, Tensors, make_shape


class LiteRtModel:
    """A LiteRT model. Its interpreter keeps inputs and outputs between calls, hence the lock."""

    def __init__(self, path: Path, _: Choice) -> None:
        interpreter: Any = importlib.import_module("ai_edge_litert.interpreter")
        threads = machine.count_library_threads()
        self._interpreter = interpreter.Interpreter(str(path), num_threads=threads)
        self._interpreter.allocate_tensors()
        self._inputs = self._interpreter.get_input_details()
        self._outputs = self._interpreter.get_output_details()
        self.signature = Tensors([_describe(detail) for detail in self._inputs])
        self._shapes: dict[int, tuple[int, ...]] = {}
        """By input, the shapes of the last call that succeeded."""
        self._turn = threading.Lock()

    def predict(self, data: Any) -> Any:
        """Predict a batch, whose size the interpreter takes over."""
        return self.signature.run(data, self._run)

    def _run(self, feed: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        shapes = {detail["index"]: feed[_clean(detail["name"])].shape for detail in self._inputs}
        with self._turn:
            if shapes != self._shapes:
                self._shapes = {}  # what does not fit leaves the interpreter half resized
                for index, shape in shapes.items():
                    self._interpreter.resize_tensor_input(index, shape)
                self._interpreter.allocate_tensors()
            for detail in self._inputs:
                self._interpreter.set_tensor(detail["index"], feed[_clean(detail["name"])])
            self._interpreter.invoke()
            self._shapes = shapes
            get = self._interpreter.get_tensor
            return {_clean(detail["name"]): get(detail["index"]) for detail in self._outputs}


def _describe(detail: Any) -> Tensor:
    """Describe an input; the size of a batch is free, as the interpreter can resize it."""
    signature = detail["shape_signature"].tolist() or detail["shape"].tolist()
    shape: Shape = (None, *make_shape(signature[1:]))
    return Tensor(_clean(detail["name"]), np.dtype(detail["dtype"]), shape[: len(signature)])


def _clean(name: str) -> str:
    """Return the name that a signature had before it was converted."""
    return name.removeprefix("serving_default_").removesuffix(":0")
