"""From an artefact to probabilities, through LiteRT: no TensorFlow, numpy alone beside it.

Batches are cut into blocks of a fixed size, and the rest runs image by image, for two measured reasons: telling the
interpreter a new batch size costs five single predictions, and beyond 32 images its working set leaves the cache (28 us
an image become 45). So memory does not grow with a request either.
"""

from __future__ import annotations

import threading
from typing import Any, Final

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from container.artifact import Artifact
from container.errors import UserError

_BLOCK_IMAGES: Final = 32


class Predictor:
    """A loaded model. Thread-safe: calls take turns, since an interpreter holds one prediction at a time."""

    def __init__(self, path: str, *, threads: int) -> None:
        """`path` names a LiteRT flatbuffer with one input and one output; `threads` run within one prediction.

        With one thread a predictor survives a fork; with several it must be made after it (HO-14).
        """
        self._path, self._threads = path, threads
        self._lock = threading.Lock()
        self._single = _Interpreter(path, threads, 1)
        self._block: _Interpreter | None = None
        self.input_shape: tuple[int, ...] = self._single.input_shape[1:]
        self.class_count: int = self._single.class_count

    def predict(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Give probabilities `[n, class] float32` of images `[n, height, width, channel] uint8 0-255`; n may be 0."""
        count = len(images)
        with self._lock:
            if count == 1:
                return self._single.run(images)
            probabilities = np.empty((count, self.class_count), np.float32)
            done = 0
            if count >= _BLOCK_IMAGES:
                # Made at the first large batch: a server of single images never pays for it.
                self._block = self._block or _Interpreter(self._path, self._threads, _BLOCK_IMAGES)
                for done in range(_BLOCK_IMAGES, count + 1, _BLOCK_IMAGES):
                    start = done - _BLOCK_IMAGES
                    probabilities[start:done] = self._block.run(images[start:done])
            for index in range(done, count):
                probabilities[index : index + 1] = self._single.run(images[index : index + 1])
            return probabilities


class _Interpreter:
    """A LiteRT interpreter whose batch size is fixed."""

    def __init__(self, path: str, threads: int, batch: int) -> None:
        interpreter: Any = Interpreter(model_path=path, num_threads=threads)
        model_input, model_output = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
        self.input_shape = (batch, *(int(size) for size in model_input["shape"][1:]))
        interpreter.resize_tensor_input(model_input["index"], self.input_shape)
        interpreter.allocate_tensors()
        self._input, self._output = model_input["index"], model_output["index"]
        self._interpreter = interpreter
        self.class_count = int(model_output["shape"][-1])
        self.run(np.zeros(self.input_shape, np.uint8))  # warm: the first run allocates and costs many others

    def run(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        self._interpreter.set_tensor(self._input, images)
        self._interpreter.invoke()
        probabilities: NDArray[np.float32] = self._interpreter.get_tensor(self._output)
        return probabilities


def load(artifact: Artifact, *, threads: int = 1) -> Predictor:
    """Load an artefact's LiteRT model and run it once, so that the first prediction is as fast as the next.

    Raises: UserError if the flatbuffer cannot be loaded or is another model than the manifest describes.
    """
    try:
        predictor = Predictor(str(artifact.litert), threads=threads)
    except (ValueError, RuntimeError) as error:
        message = f"{artifact.litert} cannot be loaded: {error}"
        raise UserError(message) from error
    manifest = artifact.manifest
    found = (predictor.input_shape, predictor.class_count)
    if found != (manifest.input_shape, len(manifest.classes)):
        message = (
            f"{artifact.litert} takes images {found[0]} and gives {found[1]} classes; its manifest says "
            f"{manifest.input_shape} and {len(manifest.classes)}: they are of different trainings"
        )
        raise UserError(message)
    return predictor
