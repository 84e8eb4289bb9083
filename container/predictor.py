"""From an artifact to probabilities: through LiteRT with numpy alone beside it, or through TensorFlow or OpenVINO.

LiteRT gets batches cut into blocks of a fixed size, and the rest image by image, for two measured
reasons: telling the interpreter a new batch size costs five single predictions, and beyond 32
images its working set leaves the cache (28 us an image become 45). So memory does not grow with a
request either.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.util
import logging
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from container.artifact import FLATBUFFERS, LITERT_NAME, TOLERANCE, Artifact
from container.errors import UserError

RUNTIMES: Final = ("litert", "litert_int8", "openvino", "saved_model", "keras")
_NEEDS: Final = {"openvino": "openvino", "saved_model": "tensorflow", "keras": "tensorflow"}
_BLOCK_IMAGES: Final = 32
_TENSORFLOW_BLOCK_IMAGES: Final = 1024  # bounds the memory of a request
_XLA_BLOCK_IMAGES: Final = 32  # each power of two up to it is compiled while loading

log = logging.getLogger(__name__)


class Predictor(Protocol):
    """A loaded model. Thread-safe."""

    input_shape: tuple[int, ...]
    """Height, width and channels of one image."""
    class_count: int
    image_s: float
    """Seconds that one image takes, measured while loading."""

    def predict(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Give probabilities `[n, class] float32` of images `[n, height, width, channel] uint8 0-255`; n may be 0."""


class LiteRtPredictor:
    """A LiteRT flatbuffer: as many predictions run at once as it has been told, and the others wait."""

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
        self.image_s: float = min(
            _measure_s(pair.single.run, pair.single.input_shape) for _ in range(3)
        )

    def predict(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Give probabilities; `Predictor` says more."""
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
        model_input, model_output = (
            interpreter.get_input_details()[0],
            interpreter.get_output_details()[0],
        )
        self.input_shape = (batch, *(int(size) for size in model_input["shape"][1:]))
        interpreter.resize_tensor_input(model_input["index"], self.input_shape)
        interpreter.allocate_tensors()
        self._input, self._output = model_input["index"], model_output["index"]
        self._interpreter = interpreter
        self.class_count = int(model_output["shape"][-1])
        self.run(
            np.zeros(self.input_shape, np.uint8)
        )  # warm: the first run allocates and costs many others

    def run(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        self._interpreter.set_tensor(self._input, images)
        self._interpreter.invoke()
        probabilities: NDArray[np.float32] = self._interpreter.get_tensor(self._output)
        return probabilities


class TensorFlowPredictor:
    """The artifact's SavedModel or Keras model, as one function. Made after a fork (HO-14).

    On a GPU XLA compiles it for each power of two images up to 32, and batches are padded to the
    next of them; other shapes would each be compiled when they are first seen, for seconds. On CPUs
    XLA was no faster (measured on ResNet-50), so that every shape runs as it is.
    """

    def __init__(
        self, artifact: Artifact, *, runtime: str, threads: int, xla: bool | None = None
    ) -> None:
        """`threads` run within one prediction; without `xla` a GPU decides."""
        tf: Any = importlib.import_module("tensorflow")
        gpus = tf.config.list_physical_devices("GPU")
        with contextlib.suppress(
            RuntimeError
        ):  # it is at work already, for a training or another model: as it is
            tf.config.threading.set_intra_op_parallelism_threads(threads)
            for device in gpus:
                tf.config.experimental.set_memory_growth(device, True)  # noqa: FBT003 - TensorFlow's own signature
        self.input_shape: tuple[int, ...] = artifact.manifest.input_shape
        self.class_count = len(artifact.manifest.classes)
        self._constant = functools.partial(tf.constant, dtype=tf.uint8)
        self._run: Callable[[Any], Any]
        if runtime == "keras":
            keras: Any = importlib.import_module("keras")
            model = keras.models.load_model(artifact.keras, compile=False)
            signature = [tf.TensorSpec([None, *self.input_shape], tf.uint8)]
            self._run = tf.function(
                lambda images: model(images, training=False), input_signature=signature
            )
        else:
            self._loaded = tf.saved_model.load(
                str(artifact.saved_model)
            )  # keeps the function's variables alive
            signature = self._loaded.signatures["serving_default"]
            self._run = lambda images: signature(images=images)["probabilities"]
        self.pads = bool(gpus) if xla is None else xla
        if self.pads:
            self._compile(tf)
        self.image_s: float = min(
            _measure_s(self.predict, (1, *self.input_shape)) for _ in range(3)
        )
        log.info(
            "TensorFlow %s computes on %s%s",
            tf.__version__,
            ", ".join(
                tf.config.experimental.get_device_details(gpu).get("device_name", "a GPU")
                for gpu in gpus
            )
            or f"the CPU with {threads} threads",
            " through XLA" if self.pads else "",
        )

    def _compile(self, tf: Any) -> None:
        plain, self._run = self._run, tf.function(self._run, jit_compile=True)
        count = 1
        try:
            while count <= _XLA_BLOCK_IMAGES:
                self.predict(np.zeros((count, *self.input_shape), np.uint8))
                count *= 2
        except tf.errors.OpError as error:
            log.warning(
                "XLA does not compile this model, which runs without it: %s",
                str(error).partition("\n")[0],
            )
            self._run, self.pads = plain, False

    def predict(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Give probabilities; `Predictor` says more."""
        probabilities = np.empty((len(images), self.class_count), np.float32)
        block_images = _XLA_BLOCK_IMAGES if self.pads else _TENSORFLOW_BLOCK_IMAGES
        for start in range(0, len(images), block_images):
            block = images[start : start + block_images]
            count = len(block)
            if self.pads:
                block = _pad(block, 1 << (count - 1).bit_length())
            probabilities[start : start + count] = self._run(self._constant(block)).numpy()[:count]
        return probabilities


def _pad(images: NDArray[np.uint8], count: int) -> NDArray[np.uint8]:
    if len(images) == count:
        return images
    return np.concatenate([images, np.zeros((count - len(images), *images.shape[1:]), np.uint8)])


class OpenVinoPredictor:
    """The artifact's flatbuffer, or else its SavedModel, on OpenVINO. One prediction at a time; made after a fork.

    It computes in bfloat16 where the CPU does. Images run one by one: a batch of eight saved a
    tenth on ResNet-50, and every size would be a compiled model of its own.
    """

    def __init__(self, artifact: Artifact, *, threads: int) -> None:
        """`threads` run within one prediction."""
        openvino: Any = importlib.import_module("openvino")
        self.input_shape: tuple[int, ...] = artifact.manifest.input_shape
        self.class_count = len(artifact.manifest.classes)
        core = openvino.Core()
        model = core.read_model(
            str(artifact.litert if artifact.litert_agrees else artifact.saved_model)
        )
        model.reshape([1, *self.input_shape])
        options = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads}
        compiled = core.compile_model(model, "CPU", options)
        self._request = compiled.create_infer_request()
        self._turn = threading.Lock()
        self.image_s: float = min(
            _measure_s(self.predict, (1, *self.input_shape)) for _ in range(3)
        )
        precision = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
        log.info(
            "OpenVINO %s computes in %s with %d threads", openvino.__version__, precision, threads
        )

    def predict(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Give probabilities; `Predictor` says more."""
        probabilities = np.empty((len(images), self.class_count), np.float32)
        with self._turn:
            for index in range(len(images)):
                probabilities[index] = self._request.infer(
                    [images[index : index + 1]], share_inputs=True
                )[0][0]
        return probabilities


def _measure_s(run: Callable[[NDArray[np.uint8]], object], shape: tuple[int, ...]) -> float:
    images = np.zeros(shape, np.uint8)
    start = time.perf_counter()
    run(images)
    return time.perf_counter() - start


def choose(artifact: Artifact) -> tuple[str, str]:
    """Give the runtime that serves an artifact best as far as its manifest tells, and why.

    Raises: UserError if that needs TensorFlow and it is not installed.
    """
    if artifact.litert_agrees:
        return "litert", "which agreed with Keras"
    difference = artifact.manifest.differences.get("litert")
    reason = (
        "as the model did not convert to LiteRT"
        if difference is None
        else f"as LiteRT's probabilities were {difference:g} from Keras', and {TOLERANCE:g} is right"
    )
    if not is_installed("saved_model"):
        remedy = (
            "" if difference is None else ", or set BYO_RUNTIME=litert to serve it all the same"
        )
        message = (
            f"the artifact in {artifact.root} needs TensorFlow, which this image lacks, {reason}; "
            f"serve it with an image that trains{remedy}"
        )
        raise UserError(message)
    return "saved_model", reason


def is_installed(runtime: str) -> bool:
    """Tell whether the package that a runtime needs is there, without importing it."""
    return runtime not in _NEEDS or importlib.util.find_spec(_NEEDS[runtime]) is not None


def finds_gpu(environ: Mapping[str, str], devices: Path = Path("/dev")) -> bool:
    """Tell whether NVIDIA's driver shows this process a GPU, without asking the driver."""
    hidden = environ.get("CUDA_VISIBLE_DEVICES", "0").strip() in ("", "-1")
    return not hidden and any(path.name[6:].isdigit() for path in devices.glob("nvidia*"))


def load(
    artifact: Artifact, *, runtime: str = "auto", threads: int = 1, concurrency: int = 1
) -> Predictor:
    """Load an artifact's model and run it a few times, so that the first prediction is as fast as the next.

    `threads` run within one prediction; LiteRT makes `concurrency` of them at once. `auto` is what `choose` gives.

    Raises: UserError if the artifact has no such model, it cannot be loaded, or the image lacks
    what it needs.
    """
    if runtime == "auto":
        runtime, _ = choose(artifact)
    if runtime in FLATBUFFERS:
        return _load_flatbuffer(artifact, runtime, threads, concurrency)
    try:
        if runtime == "openvino":
            return OpenVinoPredictor(artifact, threads=threads)
        return TensorFlowPredictor(artifact, runtime=runtime, threads=threads)
    except ImportError as error:
        package = {"openvino": "OpenVINO"}.get(runtime, "TensorFlow")
        message = f"the runtime {runtime} needs {package}, which this image lacks: {error}"
        raise UserError(message) from error
    except Exception as error:  # the frameworks' own errors have no common base
        message = f"the artifact in {artifact.root} cannot be loaded as {runtime}: {type(error).__name__}: {error}"
        raise UserError(message) from error


def _load_flatbuffer(
    artifact: Artifact, runtime: str, threads: int, concurrency: int
) -> LiteRtPredictor:
    path, manifest = artifact.root / FLATBUFFERS[runtime], artifact.manifest
    if runtime not in manifest.differences:
        reason = (
            "the model did not convert"
            if path.name == LITERT_NAME
            else "the training was not asked for int8_export"
        )
        message = f"the artifact in {artifact.root} holds no {path.name}: {reason}"
        raise UserError(message)
    try:
        predictor = LiteRtPredictor(str(path), threads=threads, concurrency=concurrency)
    except (ValueError, RuntimeError) as error:
        message = f"{path} cannot be loaded: {error}"
        raise UserError(message) from error
    found = (predictor.input_shape, predictor.class_count)
    if found != (manifest.input_shape, len(manifest.classes)):
        message = (
            f"{path} takes images {found[0]} and gives {found[1]} classes; its manifest says "
            f"{manifest.input_shape} and {len(manifest.classes)}: they are of different trainings"
        )
        raise UserError(message)
    return predictor
