"""From an artefact to probabilities: through LiteRT with numpy alone beside it, or on request through TensorFlow.

Batches are cut into blocks of a fixed size, and the rest runs image by image, for two measured reasons: telling the
interpreter a new batch size costs five single predictions, and beyond 32 images its working set leaves the cache (28 us
an image become 45). So memory does not grow with a request either.
"""

from __future__ import annotations

import functools
import importlib
import threading
import time
from collections.abc import Callable
from typing import Any, Final, Literal

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from container.artifact import Artifact
from container.errors import UserError

_BLOCK_IMAGES: Final = 32
_TENSORFLOW_BLOCK_IMAGES: Final = 1024  # bounds the memory of a request


class Predictor:
    """A loaded model. Thread-safe: as many predictions run at once as it has been told, and the others wait."""

    def __init__(self, path: str, *, threads: int, concurrency: int) -> None:
        """`path` names a LiteRT flatbuffer with one input and one output.

        `threads` run within one prediction: with one a predictor survives a fork, with several it must be made after
        it (HO-14). `concurrency` predictions may run at once, each with memory of its own.
        """
        self._make_pair = functools.partial(_Pair, path, threads)
        self._turns = threading.Semaphore(concurrency)
        pair = self._make_pair()
        self._idle = [pair]
        self.input_shape: tuple[int, ...] = pair.single.input_shape[1:]
        self.class_count: int = pair.single.class_count
        self.image_s: float = min(_measure_s(pair.single.run, pair.single.input_shape) for _ in range(3))
        """Seconds that one image takes, measured while loading."""

    def predict(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Give probabilities `[n, class] float32` of images `[n, height, width, channel] uint8 0-255`; n may be 0."""
        with self._turns:
            try:
                pair = self._idle.pop()
            except IndexError:
                pair = self._make_pair()
            try:
                return pair.predict(images)
            finally:
                self._idle.append(pair)


class _Pair:
    """Two interpreters of one model, for single images and for blocks; for one prediction at a time."""

    def __init__(self, path: str, threads: int) -> None:
        self.single = _Interpreter(path, threads, 1)
        self._make_block = functools.partial(_Interpreter, path, threads, _BLOCK_IMAGES)
        self._block: _Interpreter | None = None

    def predict(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        count = len(images)
        if count == 1:
            return self.single.run(images)
        probabilities = np.empty((count, self.single.class_count), np.float32)
        done = 0
        if count >= _BLOCK_IMAGES:
            # Made at the first large batch: a server of single images never pays for it.
            self._block = self._block or self._make_block()
            for done in range(_BLOCK_IMAGES, count + 1, _BLOCK_IMAGES):
                start = done - _BLOCK_IMAGES
                probabilities[start:done] = self._block.run(images[start:done])
        for index in range(done, count):
            probabilities[index : index + 1] = self.single.run(images[index : index + 1])
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


class TensorFlowPredictor:
    """The artefact's SavedModel or Keras model, as one compiled function. Thread-safe; made after a fork (HO-14)."""

    def __init__(self, artifact: Artifact, *, runtime: Literal["saved_model", "keras"], threads: int) -> None:
        """`threads` run within one prediction."""
        tf: Any = importlib.import_module("tensorflow")
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        for device in tf.config.list_physical_devices("GPU"):
            tf.config.experimental.set_memory_growth(device, True)  # noqa: FBT003 - TensorFlow's own signature
        self.input_shape = artifact.manifest.input_shape
        self.class_count = len(artifact.manifest.classes)
        self._constant = functools.partial(tf.constant, dtype=tf.uint8)
        self._run: Callable[[Any], Any]
        if runtime == "keras":
            keras: Any = importlib.import_module("keras")
            model = keras.models.load_model(artifact.keras, compile=False)
            signature = [tf.TensorSpec([None, *self.input_shape], tf.uint8)]
            self._run = tf.function(lambda images: model(images, training=False), input_signature=signature)
        else:
            self._loaded = tf.saved_model.load(str(artifact.saved_model))  # keeps the function's variables alive
            signature = self._loaded.signatures["serving_default"]
            self._run = lambda images: signature(images=images)["probabilities"]
        self.image_s: float = min(_measure_s(self.predict, (1, *self.input_shape)) for _ in range(3))
        """Seconds that one image takes, measured while loading."""

    def predict(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Give probabilities `[n, class] float32` of images `[n, height, width, channel] uint8 0-255`; n may be 0."""
        probabilities = np.empty((len(images), self.class_count), np.float32)
        for start in range(0, len(images), _TENSORFLOW_BLOCK_IMAGES):
            block = slice(start, start + _TENSORFLOW_BLOCK_IMAGES)
            probabilities[block] = self._run(self._constant(images[block])).numpy()
        return probabilities


def _measure_s(run: Callable[[NDArray[np.uint8]], object], shape: tuple[int, ...]) -> float:
    images = np.zeros(shape, np.uint8)
    start = time.perf_counter()
    run(images)
    return time.perf_counter() - start


def load_with_tensorflow(
    artifact: Artifact, *, runtime: Literal["saved_model", "keras"], threads: int = 1
) -> TensorFlowPredictor:
    """Load an artefact's SavedModel or Keras model.

    Raises: UserError if TensorFlow is not installed, or the model cannot be loaded.
    """
    try:
        return TensorFlowPredictor(artifact, runtime=runtime, threads=threads)
    except ImportError as error:
        message = f"the runtime {runtime} needs TensorFlow, which this image lacks: {error}"
        raise UserError(message) from error
    except Exception as error:  # TensorFlow's and Keras' own errors have no common base
        message = f"the artefact in {artifact.root} cannot be loaded as {runtime}: {type(error).__name__}: {error}"
        raise UserError(message) from error


def load(artifact: Artifact, *, threads: int = 1, concurrency: int = 1) -> Predictor:
    """Load an artefact's LiteRT model and run it a few times, so that the first prediction is as fast as the next.

    Raises: UserError if the flatbuffer cannot be loaded or is another model than the manifest describes.
    """
    try:
        predictor = Predictor(str(artifact.litert), threads=threads, concurrency=concurrency)
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
