"""Models that others made, served without code: LiteRT, ONNX, SavedModel, Keras.

A model takes what its input takes: numbers go in as they come, nothing is scaled. A body is JSON
(`{"instances": [...]}` or a bare array), CSV rows, npy, or a picture where the input is one; the
answer is
`{"predictions": [...]}`, CSV or npy.

Rules of this file: `find` is cheap and imports no runtime; runtimes are imported by
`Found.load_model`, in the worker.
"""

from __future__ import annotations

import importlib
import importlib.util
import io
import logging
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from container import artifact, machine
from container.errors import RequestError, UserError
from container.serving.bodies import media_types
from container.serving.user_code import inference_toolkit

log = logging.getLogger(__name__)

KINDS: Final = "a .tflite, .onnx, .keras or .h5 file, or a SavedModel"
_DEPTH: Final = 4  # export/Servo/1/saved_model.pb


class Model(Protocol):
    """A loaded model: arrays in, arrays out; several inputs or outputs go by name."""

    input_shape: tuple[int | None, ...] | None
    """Of one instance, without the batch; None where it is not known, or there are several inputs."""

    def predict(self, data: Any) -> Any:
        """Predict a batch."""


@dataclass(frozen=True)
class Found:
    """A model file of a known kind."""

    kind: str
    path: Path
    default_accept: str = media_types.JSON

    def load(self) -> Any:
        """Load the model and build the application around it.

        Raises: UserError if the model cannot be loaded.
        """
        from container.serving.user_code import handlers

        model = self.load_model()
        functions: dict[str, Callable[..., Any]] = {
            "model_fn": lambda _: model,
            "input_fn": _Decoder(model).decode,
        }
        return handlers.Application(
            functions, self.path.parent, self.default_accept, encoder=_encode
        )

    def load_model(self) -> Model:
        """Load the model alone.

        Raises: UserError if it cannot be loaded, or its runtime is not installed.
        """
        try:
            model: Model = _LOADERS[self.kind](self.path)
        except ImportError as error:
            message = f"{self.path} needs a runtime that this image lacks: {error}; install it in an image FROM this one"
            raise UserError(message) from error
        except UserError:
            raise
        except Exception as error:
            message = (
                f"{self.path} cannot be loaded as {self.kind}: {type(error).__name__}: {error}"
            )
            raise UserError(message) from error
        log.info("loaded %s as %s; one input instance: %s", self.path, self.kind, model.input_shape)
        return model


def find(model_dir: Path, default_accept: str = media_types.JSON) -> Found | None:
    """Find the one model in `model_dir`; where the same model lies there in several kinds, the lightest runtime's.

    Raises: UserError if there are several models of that kind.
    """
    if (model_dir / artifact.MANIFEST_NAME).is_file():
        return Found("artifact", model_dir, default_accept)
    found: dict[str, list[Path]] = {}
    for path in _walk(model_dir, _DEPTH):
        kind = {".tflite": "LiteRT", ".onnx": "ONNX", ".keras": "Keras", ".h5": "Keras"}.get(
            path.suffix
        )
        if path.name == "saved_model.pb":
            found.setdefault("SavedModel", []).append(path.parent)
        elif kind and not path.name.endswith(".weights.h5"):
            found.setdefault(kind, []).append(path)
    for kind in ("LiteRT", "SavedModel", "Keras", "ONNX"):
        paths = found.get(kind, [])
        if kind == "SavedModel" and len(paths) > 1 and all(path.name.isdigit() for path in paths):
            paths = [
                max(paths, key=lambda path: int(path.name))
            ]  # TensorFlow Serving takes the newest version
        if len(paths) > 1:
            message = f"{model_dir} holds {len(paths)} models: {', '.join(map(str, paths[:5]))}; one is expected"
            raise UserError(message)
        if paths:
            return Found(kind, paths[0], default_accept)
    return None


def _walk(directory: Path, depth: int) -> Iterator[Path]:
    entries = sorted(directory.iterdir()) if directory.is_dir() else []
    for entry in entries:
        if (
            entry.is_dir()
            and entry.name not in ("code", "variables", "assets")
            and not entry.name.startswith(".")
        ):
            if depth > 1:
                yield from _walk(entry, depth - 1)
        elif entry.is_file():
            yield entry


# Bodies


@dataclass(frozen=True)
class _Decoder:
    model: Model

    def decode(self, data: Any, content_type: str | None) -> Any:
        if content_type in (media_types.PNG, media_types.JPEG):
            return self._decode_picture(data)
        if content_type == media_types.JSON and data.lstrip().startswith("{"):
            from container.serving.user_code import tensorflow_serving

            return tensorflow_serving.decode(data)
        array = inference_toolkit.decode(data, content_type)
        shape = self.model.input_shape
        if shape is None or None in shape:
            return array
        size = math.prod(side or 1 for side in shape)
        if array.size == 0 or array.size % size:
            message = f"the body holds {array.size} numbers; {size} an instance of shape {list(shape)} are expected"
            raise RequestError(400, message)
        return array.reshape(-1, *shape)

    def _decode_picture(self, data: bytes) -> NDArray[np.uint8]:
        shape = self.model.input_shape
        if shape is None or len(shape) != 3 or shape[2] not in (1, 3):
            raise RequestError(415, f"this model takes no pictures: its input is {shape}")
        from PIL import Image, UnidentifiedImageError

        try:
            with Image.open(io.BytesIO(data)) as picture:
                pixels = np.asarray(
                    picture.convert("L" if shape[2] == 1 else "RGB"), dtype=np.uint8
                )
        except (UnidentifiedImageError, OSError, ValueError, Image.DecompressionBombError) as error:
            raise RequestError(400, f"the body is no picture: {error}") from error
        if shape[0] not in (None, pixels.shape[0]) or shape[1] not in (None, pixels.shape[1]):
            message = f"the picture is {pixels.shape[0]}x{pixels.shape[1]}; {shape[0]}x{shape[1]} pixels are expected"
            raise RequestError(400, message)
        return pixels.reshape(1, *pixels.shape[:2], shape[2])


def _encode(prediction: Any, content_type: str) -> str | bytes:
    if content_type == media_types.JSON:
        from container.serving.user_code import tensorflow_serving

        return tensorflow_serving.encode(prediction)
    if isinstance(prediction, dict):
        raise RequestError(
            406, f"this model has several outputs, which only {media_types.JSON} can hold"
        )
    return inference_toolkit.encode(
        np.asarray(prediction).reshape(len(prediction), -1), content_type
    )


# Runtimes


class _LiteRt:
    def __init__(self, path: Path) -> None:
        interpreter: Any = importlib.import_module("ai_edge_litert.interpreter")
        threads = max(1, int(machine.count_cpus()))
        self._interpreter = interpreter.Interpreter(str(path), num_threads=threads)
        self._interpreter.allocate_tensors()
        self._inputs = self._interpreter.get_input_details()
        self._outputs = self._interpreter.get_output_details()
        self.input_shape = (
            tuple(map(int, self._inputs[0]["shape"][1:])) if len(self._inputs) == 1 else None
        )

    def predict(self, data: Any) -> Any:
        named = data if isinstance(data, dict) else {self._inputs[0]["name"]: data}
        for detail in self._inputs:
            array = _cast(_pick(named, detail["name"]), detail["dtype"])
            if tuple(detail["shape"]) != array.shape:
                self._interpreter.resize_tensor_input(detail["index"], array.shape)
                detail["shape"] = array.shape
        self._interpreter.allocate_tensors()
        for detail in self._inputs:
            self._interpreter.set_tensor(
                detail["index"], _cast(_pick(named, detail["name"]), detail["dtype"])
            )
        self._interpreter.invoke()
        outputs = {
            detail["name"]: self._interpreter.get_tensor(detail["index"])
            for detail in self._outputs
        }
        return _unwrap(outputs)


class _Onnx:
    def __init__(self, path: Path) -> None:
        onnxruntime: Any = importlib.import_module("onnxruntime")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = max(1, int(machine.count_cpus()))
        self._session = onnxruntime.InferenceSession(
            str(path), options, providers=onnxruntime.get_available_providers()
        )
        self._inputs = self._session.get_inputs()
        self.input_shape = _static(self._inputs[0].shape[1:]) if len(self._inputs) == 1 else None

    def predict(self, data: Any) -> Any:
        named = data if isinstance(data, dict) else {self._inputs[0].name: data}
        types = {
            "tensor(float)": np.float32,
            "tensor(double)": np.float64,
            "tensor(uint8)": np.uint8,
        }
        types |= {
            "tensor(int64)": np.int64,
            "tensor(int32)": np.int32,
            "tensor(float16)": np.float16,
        }
        feed = {
            put.name: _cast(_pick(named, put.name), types.get(put.type)) for put in self._inputs
        }
        names = [output.name for output in self._session.get_outputs()]
        return _unwrap(dict(zip(names, self._session.run(names, feed), strict=True)))


class _SavedModel:
    def __init__(self, path: Path) -> None:
        self._tf: Any = importlib.import_module("tensorflow")
        self._loaded = self._tf.saved_model.load(str(path))  # keeps the function's variables alive
        signatures = self._loaded.signatures
        if not signatures:
            message = f"{path} has no signature; export it with one called serving_default"
            raise UserError(message)
        self._function = signatures[
            "serving_default" if "serving_default" in signatures else next(iter(signatures))
        ]
        self._inputs = self._function.structured_input_signature[1]
        shapes = [put.shape for put in self._inputs.values()]
        self.input_shape = _static(shapes[0][1:]) if len(shapes) == 1 and shapes[0].rank else None

    def predict(self, data: Any) -> Any:
        named = data if isinstance(data, dict) else {next(iter(self._inputs)): data}
        feed = {
            name: self._tf.constant(
                _cast(
                    _pick(named, name), None if put.dtype == "string" else put.dtype.as_numpy_dtype
                )
            )
            for name, put in self._inputs.items()
        }
        return _unwrap({name: output.numpy() for name, output in self._function(**feed).items()})


class _Keras:
    def __init__(self, path: Path) -> None:
        keras: Any = importlib.import_module("keras")
        tf: Any = importlib.import_module("tensorflow")
        self._model = keras.models.load_model(path, compile=False)
        self._function = tf.function(
            lambda inputs: self._model(inputs, training=False), reduce_retracing=True
        )
        self._dtype = np.dtype(self._model.inputs[0].dtype)
        self.input_shape = (
            tuple(self._model.inputs[0].shape[1:]) if len(self._model.inputs) == 1 else None
        )

    def predict(self, data: Any) -> Any:
        if isinstance(data, dict):
            names = [put.name for put in self._model.inputs]
            data = {name: _cast(_pick(data, name), None) for name in names}
        else:
            data = _cast(data, self._dtype)
        outputs = self._function(data)
        if isinstance(outputs, (list, tuple)):
            outputs = {f"output_{index}": output for index, output in enumerate(outputs)}
        return _unwrap(
            {k: v.numpy() for k, v in outputs.items()}
            if isinstance(outputs, dict)
            else {"": outputs.numpy()}
        )


class _Artifact:
    def __init__(self, path: Path) -> None:
        from container import predictor

        found = artifact.load(path)
        self._predictor = predictor.load(found)
        self.input_shape = found.manifest.input_shape

    def predict(self, data: Any) -> Any:
        return self._predictor.predict(_cast(data, np.uint8))


_LOADERS: Final[dict[str, Any]] = {
    "LiteRT": _LiteRt,
    "ONNX": _Onnx,
    "SavedModel": _SavedModel,
    "Keras": _Keras,
    "artifact": _Artifact,
}


def _static(shape: Any) -> tuple[int | None, ...]:
    return tuple(size if isinstance(size, int) else None for size in shape)


def _pick(named: dict[str, Any], name: str) -> Any:
    if name in named:
        return named[name]
    if len(named) == 1:
        return next(iter(named.values()))
    raise RequestError(400, f"the input {name!r} is missing; given: {', '.join(named)}")


def _cast(array: Any, dtype: Any) -> NDArray[Any]:
    """Cast numbers to the model's type; a fraction for an integer input is a fault, not a rounding."""
    array = np.asarray(array)
    if dtype is None or array.dtype == dtype:
        return np.ascontiguousarray(array)
    try:
        cast = array.astype(dtype)
    except (ValueError, TypeError) as error:
        raise RequestError(400, f"the input must be {np.dtype(dtype).name}: {error}") from error
    if np.issubdtype(dtype, np.integer) and not np.array_equal(cast, array):
        raise RequestError(
            400,
            f"the input must be {np.dtype(dtype).name}; {array.dtype} that does not fit was given",
        )
    return np.ascontiguousarray(cast)


def _unwrap(outputs: dict[str, Any]) -> Any:
    return next(iter(outputs.values())) if len(outputs) == 1 else outputs
