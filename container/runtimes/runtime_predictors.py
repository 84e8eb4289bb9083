"""The runtimes for an artifact's models: LiteRT, TensorFlow, OpenVINO; each is imported when used.

Each has the attributes of `container.predictor.Predictor`, measured and checked when it is made.

LiteRT gets batches cut into blocks of a fixed size, and the rest image by image, for two measured
reasons: a new batch size costs the interpreter five single predictions, and beyond 32 images its
working set leaves the cache (28 us an image become 45). So memory does not grow with a request.
"""

import contextlib
import functools
import importlib
import logging
import threading
import time
from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from container.artifact import Artifact
from container.errors import PlatformError, name_installation

_BLOCK_IMAGES: Final = 32
_TENSORFLOW_BLOCK_IMAGES: Final = 1024  # bounds the memory of a request
_XLA_BLOCK_IMAGES: Final = 32  # each power of two up to it is compiled while loading

log = logging.getLogger(__name__)


class LiteRtPredictor:
    """A LiteRT flatbuffer with one input and one output; runs up to `concurrency` predictions."""

    def __init__(self, path: str, *, threads: int, concurrency: int) -> None:
        """`threads` run within one prediction.

        With one thread a predictor survives a fork, with several it must be made after it (HO-14).
        Each of the `concurrency` predictions has memory of its own.
        """
        self._make_pair = functools.partial(_Pair, path, threads)
        pair = self._make_pair()
        # Not a semaphore, which is Python code: it takes 1 us more.
        self._lock = threading.Lock()
        self._freed = threading.Condition(self._lock)
        self._waiting = 0
        self._idle: list[_Pair | None] = [*[None] * (concurrency - 1), pair]
        """The last one is used first; None has not been made."""
        self.input_shape: tuple[int, ...] = pair.single.input_shape[1:]
        self.class_count: int = pair.single.class_count
        self.image_s = _measure_image_s(pair.single.run, self.input_shape)

    def predict(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return probabilities, as `Predictor` describes."""
        with self._lock:
            while not self._idle:
                self._waiting += 1
                self._freed.wait()
                self._waiting -= 1
            pair = self._idle.pop()
        try:
            pair = pair or self._make_pair()
            return pair.predict(images)
        finally:
            with self._lock:
                self._idle.append(pair)
                if self._waiting:
                    self._freed.notify()


class _Pair:
    """Two interpreters of one model, for single images and for blocks; runs one prediction."""

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


def _load_litert() -> Any:
    """Return LiteRT's class of interpreters. Raises: PlatformError if it is not installed."""
    try:
        return importlib.import_module("ai_edge_litert.interpreter").Interpreter
    except ModuleNotFoundError as error:
        raise PlatformError(
            f"a model of the bundled network needs LiteRT, which is not here ({error}); on your "
            f"machine run: {name_installation('trainer')}"
        ) from error


class _Interpreter:
    """A LiteRT interpreter with a fixed batch size."""

    def __init__(self, path: str, threads: int, batch: int) -> None:
        interpreter = _load_litert()(model_path=path, num_threads=threads)
        [model_input, *_] = interpreter.get_input_details()
        [model_output, *_] = interpreter.get_output_details()
        self.input_shape = (batch, *model_input["shape"].tolist()[1:])
        interpreter.resize_tensor_input(model_input["index"], self.input_shape)
        interpreter.allocate_tensors()
        self._input = model_input["index"]
        self._output = model_output["index"]
        self._interpreter = interpreter
        self.class_count = int(model_output["shape"][-1])
        self.run(np.zeros(self.input_shape, np.uint8))  # the first run allocates: it is slow

    def run(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        self._interpreter.set_tensor(self._input, images)
        self._interpreter.invoke()
        probabilities: NDArray[np.float32] = self._interpreter.get_tensor(self._output)
        return probabilities


class TensorFlowPredictor:
    """The artifact's SavedModel or Keras model, as one function. Made after a fork (HO-14).

    On a GPU, XLA compiles it for each power of two images up to 32, and batches are padded to the
    next of them; any other size would be compiled when it is first seen, for seconds. On CPUs XLA
    was no faster (measured on ResNet-50), so every size runs unchanged there.
    """

    def __init__(
        self, artifact: Artifact, *, runtime: str, threads: int, xla: bool | None = None
    ) -> None:
        """`threads` run within one prediction; without `xla`, XLA is used on GPUs only."""
        tf: Any = importlib.import_module("tensorflow")
        gpus = tf.config.list_physical_devices("GPU")
        with contextlib.suppress(RuntimeError):  # already initialized: keep its settings
            tf.config.threading.set_intra_op_parallelism_threads(threads)
            for gpu in gpus:
                tf.config.experimental.set_memory_growth(gpu, True)  # noqa: FBT003 - no keyword
        self.input_shape: tuple[int, ...] = artifact.manifest.input_shape
        self.class_count = len(artifact.manifest.classes)
        self._constant = functools.partial(tf.constant, dtype=tf.uint8)
        self._run = _load_keras(artifact) if runtime == "keras" else _load_saved_model(artifact)
        self.pads = bool(gpus) if xla is None else xla
        if self.pads:
            self._compile(tf)
        self.image_s = _measure_image_s(self.predict, self.input_shape)
        describe = tf.config.experimental.get_device_details
        names = [describe(gpu).get("device_name", "a GPU") for gpu in gpus]
        devices = ", ".join(names) or f"the CPU with {threads} threads"
        through = " through XLA" if self.pads else ""
        log.info("TensorFlow %s computes on %s%s", tf.__version__, devices, through)

    def _compile(self, tf: Any) -> None:
        plain = self._run
        compiled: Any = tf.function(plain, jit_compile=True)
        self._run = compiled
        try:
            for exponent in range(_XLA_BLOCK_IMAGES.bit_length()):
                block = tf.TensorSpec([1 << exponent, *self.input_shape], tf.uint8)
                compiled.get_concrete_function(block)  # a call that traces would draw a warning
                self.predict(np.zeros((1 << exponent, *self.input_shape), np.uint8))
        except tf.errors.OpError as error:
            reason = str(error).partition("\n")[0]
            log.warning("XLA cannot compile this model, which runs without it: %s", reason)
            self._run = plain
            self.pads = False

    def predict(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return probabilities, as `Predictor` describes."""
        probabilities = np.empty((len(images), self.class_count), np.float32)
        block_images = _XLA_BLOCK_IMAGES if self.pads else _TENSORFLOW_BLOCK_IMAGES
        for start in range(0, len(images), block_images):
            block = images[start : start + block_images]
            count = len(block)
            if self.pads:
                block = _pad(block, 1 << (count - 1).bit_length())
            probabilities[start : start + count] = self._run(self._constant(block)).numpy()[:count]
        return probabilities


def _load_keras(artifact: Artifact) -> Callable[[Any], Any]:
    keras: Any = importlib.import_module("keras")
    tf: Any = importlib.import_module("tensorflow")
    model = keras.models.load_model(artifact.keras, compile=False)
    signature = [tf.TensorSpec([None, *artifact.manifest.input_shape], tf.uint8)]
    run: Callable[[Any], Any] = tf.function(
        lambda images: model(images, training=False), input_signature=signature
    )
    return run


def _load_saved_model(artifact: Artifact) -> Callable[[Any], Any]:
    tf: Any = importlib.import_module("tensorflow")
    loaded = tf.saved_model.load(str(artifact.saved_model))

    def run(images: Any) -> Any:
        # Looked up in `loaded`, which keeps the function's variables alive.
        return loaded.signatures["serving_default"](images=images)["probabilities"]

    return run


def _pad(images: NDArray[np.uint8], count: int) -> NDArray[np.uint8]:
    if len(images) == count:
        return images
    return np.concatenate([images, np.zeros((count - len(images), *images.shape[1:]), np.uint8)])


class OpenVinoPredictor:
    """The artifact's flatbuffer, or else its SavedModel; made after a fork (HO-14).

    One prediction runs at a time, in bfloat16 where the CPU has it. Images run one by one: a batch
    of eight saved a tenth on ResNet-50, and every size would be a compiled model of its own.
    """

    def __init__(self, artifact: Artifact, *, threads: int) -> None:
        """`threads` run within one prediction."""
        openvino: Any = importlib.import_module("openvino")
        self.input_shape: tuple[int, ...] = artifact.manifest.input_shape
        self.class_count = len(artifact.manifest.classes)
        core = openvino.Core()
        path = artifact.litert if artifact.litert_agrees else artifact.saved_model
        model = core.read_model(str(path))
        model.reshape([1, *self.input_shape])
        options = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads}
        compiled = core.compile_model(model, "CPU", options)
        self._request = compiled.create_infer_request()
        self._turn = threading.Lock()
        self.image_s = _measure_image_s(self.predict, self.input_shape)
        precision = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
        message = "OpenVINO %s computes in %s with %d threads"
        log.info(message, openvino.__version__, precision, threads)

    def predict(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return probabilities, as `Predictor` describes."""
        probabilities = np.empty((len(images), self.class_count), np.float32)
        with self._turn:
            for index in range(len(images)):
                image = images[index : index + 1]
                probabilities[index] = self._request.infer([image], share_inputs=True)[0][0]
        return probabilities


def _measure_image_s(run: Callable[[NDArray[np.uint8]], object], shape: tuple[int, ...]) -> float:
    """Return the seconds that one image takes, the least of three."""
    images = np.zeros((1, *shape), np.uint8)
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        run(images)
        seconds.append(time.perf_counter() - start)
    return min(seconds)
