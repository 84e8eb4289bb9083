"""Keras models: `.keras` archives and HDF5 files, of Keras 3 and, where it can be, of Keras 2."""

import importlib
import re
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from container.errors import RequestError, UserError
from container.serving.third_party import kinds
from container.serving.third_party.loaders import keras_two
from container.serving.third_party.model_files import Choice
from container.serving.third_party.signature import TEXT, Tensor, Tensors

_CUSTOM: Final = re.compile(
    r"(?:Could not locate (?:class|function)|Unknown [\w ]{1,40}:|Could not deserialize class) "
    r"'?([\w.>]+)'?"
)


class KerasModel:
    """A Keras model as a function of TensorFlow."""

    def __init__(self, path: Path, _: Choice) -> None:
        self._tf: Any = importlib.import_module("tensorflow")
        model = _load(path)
        stateful = sorted(set(_find_stateful(model)))
        if stateful:
            raise UserError(
                f"{path} has stateful layers ({', '.join(stateful)}), with which the answer to one "
                "client depends on requests of others; save the model with stateful=False"
            )
        self._function = self._tf.function(
            lambda inputs: model(inputs, training=False), reduce_retracing=True
        )
        given: Any = getattr(model, "input", None)  # which a Sequential may lack
        self._is_named = isinstance(given, dict)
        named: Any = given if self._is_named else {put.name: put for put in model.inputs}
        self.signature = Tensors([_describe(name, put) for name, put in named.items()])
        self._sizes = _find_embeddings(model, named)

    def predict(self, data: Any) -> Any:
        """Predict a batch."""
        return self.signature.run(data, self._run)

    def _run(self, feed: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        for name, size in self._sizes.items():
            _check_indices(name, feed[name], size)
        tensors: Any = {name: self._tf.constant(array) for name, array in feed.items()}
        if not self._is_named:
            tensors = list(tensors.values())
            tensors = tensors if len(tensors) > 1 else tensors[0]
        outputs = self._function(tensors)
        if not isinstance(outputs, (list, tuple, dict)):
            return {"output_0": outputs.numpy()}
        if not isinstance(outputs, dict):
            outputs = {f"output_{index}": output for index, output in enumerate(outputs)}
        return {name: output.numpy() for name, output in outputs.items()}


def _describe(name: str, put: Any) -> Tensor:
    dtype = TEXT if put.dtype == "string" else np.dtype(put.dtype)
    return Tensor(name, dtype, tuple(put.shape))


def _find_embeddings(model: Any, inputs: Mapping[str, Any]) -> dict[str, int]:
    """Return the size of each embedding that takes an input as it is, by the input's name."""
    sizes: dict[str, int] = {}
    for layer in getattr(model, "layers", ()):
        if type(layer).__name__ != "Embedding":
            continue
        for node in layer._inbound_nodes:  # noqa: SLF001 - it may be shared by several inputs
            names = [name for name, put in inputs.items() if put is node.input_tensors[0]]
            sizes |= dict.fromkeys(names, int(layer.input_dim))
    return sizes


def _check_indices(name: str, array: NDArray[Any], size: int) -> None:
    """Refuse what is not an index; TensorFlow would count from the end, or cut a fraction off.

    Raises: RequestError 400.
    """
    wrong = array[(array < 0) | (array >= size) | (array != np.floor(array))]
    if wrong.size:
        raise RequestError(
            400,
            f"the input {name!r} holds {wrong.flat[0]}; it takes whole numbers, 0 to {size - 1}",
        )


def _find_stateful(model: Any) -> Iterator[str]:
    """Yield the layers that keep what one request leaves for the next."""
    for layer in getattr(model, "layers", ()):
        if getattr(layer, "stateful", False):
            yield layer.name
        yield from _find_stateful(layer)


def _load(path: Path) -> Any:
    """Load a model; a file of Keras 2 is converted if Keras 3 refuses it.

    Raises: UserError that names the custom layer or the version that is in the way.
    """
    keras: Any = importlib.import_module("keras")
    with tempfile.TemporaryDirectory() as scratch:
        try:
            return _read(keras, _name(path, Path(scratch)))
        except ImportError:
            raise
        except Exception as error:
            _refuse_custom(keras, path, error)
            version = keras_two.find_version(path)
            if not version.startswith("2."):
                raise
        try:
            converted = keras_two.convert(path, Path(scratch))
            return _read(keras, converted)
        except Exception as error:
            reason = str(error).rpartition("Exception encountered: ")[2].partition("\n")[0]
            reason = keras_two.explain(_refuse_custom(keras, path, error)) or reason
            raise UserError(
                f"{path} was written by Keras {version}, and Keras {keras.__version__} cannot load "
                f"it: load it with Keras 2 (pip install tf-keras), save it by model.export(...) as "
                f"a SavedModel, and serve that; the reason: {reason[:300]}"
            ) from error


def _read(keras: Any, path: Path) -> Any:
    """Load a model, whose layers may be found by their plain names once they are registered."""
    registered = keras.saving.get_custom_objects()
    by_name = {name.rpartition(">")[2]: value for name, value in registered.items()}
    return keras.models.load_model(path, custom_objects=by_name, compile=False)


def _name(path: Path, scratch: Path) -> Path:
    """Return the path with a suffix by which Keras recognizes HDF5 or its own archives."""
    if not kinds.is_hdf5(path) or path.suffix in (".h5", ".hdf5"):
        return path
    link = scratch / "model.h5"
    link.symlink_to(path.resolve())
    return link


def _refuse_custom(keras: Any, path: Path, error: Exception) -> str:
    """Return the class that is missing, or "". Raises: UserError if it is a user's own."""
    name = "".join(_CUSTOM.findall(str(error))[:1])
    is_model = name in ("", "Functional", "Sequential", "Model")
    if not (is_model or hasattr(keras.layers, name) or keras_two.explain(name)):
        raise UserError(
            f"{path} uses {name!r}, whose code is not in the file; add code/inference.py, which "
            f"defines {name} under @keras.saving.register_keras_serializable(); it needs no "
            "handlers"
        ) from error
    return name
