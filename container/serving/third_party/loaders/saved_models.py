"""TensorFlow's SavedModels."""

import importlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from container.errors import UserError
from container.serving.third_party.model_files import Choice
from container.serving.third_party.signature import Tensor, Tensors, make_shape


class SavedModel:
    """A SavedModel, by its signature `serving_default` or else its first."""

    def __init__(self, path: Path, _: Choice) -> None:
        self._tf: Any = importlib.import_module("tensorflow")
        self._loaded = self._tf.saved_model.load(str(path))  # keeps the function's variables alive
        signatures = self._loaded.signatures
        if not signatures:
            raise UserError(f"{path} has no signature; export it with one called serving_default")
        self.signature_name = next(iter(signatures))
        if "serving_default" in signatures:
            self.signature_name = "serving_default"
        self._function = signatures[self.signature_name]
        specs = self._function.structured_input_signature[1]
        self.signature = Tensors([describe(name, spec) for name, spec in specs.items()])

    def predict(self, data: Any) -> Any:
        """Predict a batch."""
        return self.signature.run(data, self._run)

    def _run(self, feed: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        tensors = {name: self._tf.constant(array) for name, array in feed.items()}
        return {name: output.numpy() for name, output in self._function(**tensors).items()}


def describe(name: str, spec: Any) -> Tensor:
    """Describe an input of TensorFlow's."""
    dtype = np.dtype(spec.dtype.as_numpy_dtype)  # of strings, objects
    if spec.shape.rank is None:
        return Tensor(name, dtype, None)
    return Tensor(name, dtype, make_shape(spec.shape.as_list()))
