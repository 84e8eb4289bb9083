"""Serves third-party models without code: LiteRT, ONNX, SavedModel, Keras.

Numbers go in as they come, nothing is scaled. A body is JSON (`{"instances": [...]}` or a bare
array), CSV rows, npy, or a picture where the input is one. The answer is `{"predictions": [...]}`,
CSV or npy.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from container import contract
from container.errors import RequestError
from container.serving.bodies import media_types, pictures
from container.serving.user_code import inference_toolkit, model_files, tensorflow_serving
from container.serving.user_code.application import Application
from container.serving.user_code.model_runtimes import Model

_PICTURES: Final = {media_types.PNG: "PNG", media_types.JPEG: "JPEG"}


@dataclass(frozen=True)
class Found(model_files.ModelFile):
    """A model file that will be served."""

    default_accept: str = media_types.JSON
    payload_bytes: int = contract.REALTIME_PAYLOAD_BYTES
    """What a picture may expand to, if the model takes pictures of any size."""

    def load(self) -> Application:
        """Load the model and build the application around it.

        Raises: UserError if the model cannot be loaded.
        """
        model = self.load_model()
        functions: dict[str, Callable[..., Any]] = {
            "model_fn": lambda _: model,
            "input_fn": lambda data, content_type: _decode(
                data, content_type, model, self.payload_bytes
            ),
        }
        return Application(functions, self.path.parent, self.default_accept, encoder=_encode)


def find(
    model_dir: Path,
    default_accept: str = media_types.JSON,
    payload_bytes: int = contract.REALTIME_PAYLOAD_BYTES,
) -> Found | None:
    """Find the model in `model_dir`.

    Raises: UserError as `model_files.find` does.
    """
    found = model_files.find(model_dir)
    return Found(found.kind, found.path, default_accept, payload_bytes) if found else None


def _decode(data: Any, content_type: str | None, model: Model, payload_bytes: int) -> Any:
    if content_type in _PICTURES:
        return _decode_picture(data, _PICTURES[content_type], model.input_shape, payload_bytes)
    if content_type == media_types.JSON and data.lstrip().startswith("{"):
        array = tensorflow_serving.decode(data)
        if isinstance(array, dict):
            return array
    else:
        array = inference_toolkit.decode(data, content_type)
    shape = model.input_shape
    if shape is None:
        return array
    if None in shape:
        _check_sides(array.shape, shape)
        return array
    size = math.prod(side or 1 for side in shape)
    if array.size == 0 or array.size % size:
        expected = f"{size} for an instance of shape {list(shape)} are expected"
        raise RequestError(400, f"the body holds {array.size} numbers; {expected}")
    return array.reshape(-1, *shape)


def _check_sides(found: tuple[int, ...], shape: tuple[int | None, ...]) -> None:
    """Check the shape of a batch for a model some of whose sides may have any length."""
    fits = len(found) == len(shape) + 1 and 0 not in found
    if not fits or any(side not in (None, it) for side, it in zip(shape, found[1:], strict=True)):
        expected = ["n", *(side or "any" for side in shape)]
        message = f"the body holds an array of shape {list(found)}; {expected} is expected"
        raise RequestError(400, message)


def _decode_picture(
    data: bytes, kind: str, shape: tuple[int | None, ...] | None, payload_bytes: int
) -> Any:
    if shape is None or len(shape) != 3 or shape[2] not in (1, 3):
        raise RequestError(415, f"this model takes no pictures: its input is {shape}")
    sides = (shape[0], shape[1], shape[2])
    return pictures.decode(kind, data, sides, bytes_maximum=payload_bytes)


def _encode(prediction: Any, content_type: str) -> str | bytes:
    if content_type == media_types.JSON:
        return tensorflow_serving.encode(prediction)
    if isinstance(prediction, dict):
        message = f"this model has several outputs, which only {media_types.JSON} can hold"
        raise RequestError(406, message)
    rows = np.asarray(prediction).reshape(len(prediction), -1)
    return inference_toolkit.encode(rows, content_type)
