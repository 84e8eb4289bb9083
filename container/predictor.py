"""Loads an artifact's model for predictions, and chooses what runs it.

LiteRT needs only numpy beside it. TensorFlow serves what LiteRT cannot, and OpenVINO on request.
"""

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from container.artifact import FLATBUFFERS, LITERT_NAME, TOLERANCE, Artifact
from container.errors import UserError
from container.runtimes.runtime_predictors import (
    LiteRtPredictor,
    OpenVinoPredictor,
    TensorFlowPredictor,
)

_NEEDS: Final = {"openvino": "openvino", "saved_model": "tensorflow", "keras": "tensorflow"}


class Predictor(Protocol):
    """A loaded model. Thread-safe."""

    input_shape: tuple[int, ...]
    """Height, width and channels of one image."""
    class_count: int
    image_s: float
    """Seconds that one image takes, measured while loading."""

    def predict(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return probabilities `[n, class] float32`; n may be 0.

        `images` are `[n, height, width, channel] uint8 0-255`.
        """


def choose(artifact: Artifact) -> tuple[str, str]:
    """Return the runtime that serves an artifact best, judged by its manifest, and the reason.

    Raises: UserError if that needs TensorFlow and it is not installed.
    """
    if artifact.litert_agrees:
        return "litert", "which agreed with Keras"
    difference = artifact.manifest.differences.get("litert")
    reason = "as the model did not convert to LiteRT"
    remedy = ""
    if difference is not None:
        reason = (
            f"as LiteRT's probabilities differ by {difference:g} from Keras', "
            f"and at most {TOLERANCE:g} is accepted"
        )
        remedy = ", or set BYO_RUNTIME=litert to serve it anyway"
    if is_installed("saved_model"):
        return "saved_model", reason
    raise UserError(
        f"the artifact in {artifact.root} needs TensorFlow, which this image lacks, {reason}; "
        f"serve it with an image that trains{remedy}"
    )


def is_installed(runtime: str) -> bool:
    """Return whether the package that a runtime needs is installed, without importing it."""
    return runtime not in _NEEDS or importlib.util.find_spec(_NEEDS[runtime]) is not None


def finds_gpu(environ: Mapping[str, str], devices: Path = Path("/dev")) -> bool:
    """Return whether NVIDIA's driver shows this process a GPU, without asking the driver."""
    return bool(list_gpus(environ, devices))


def list_gpus(environ: Mapping[str, str], devices: Path = Path("/dev")) -> list[str]:
    """List the GPUs of this process, by what CUDA_VISIBLE_DEVICES calls them."""
    numbers = [path.name[6:] for path in devices.glob("nvidia*") if path.name[6:].isdigit()]
    visible = environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return [str(place) for place in range(len(numbers))]
    names = [name.strip() for name in visible.split(",")]
    if not numbers or names[0] in ("", "-1"):
        return []
    return names


def load(
    artifact: Artifact, *, runtime: str = "auto", threads: int = 1, concurrency: int = 1
) -> Predictor:
    """Load an artifact's model and run it a few times, so that the first prediction is fast.

    `threads` run within one prediction; LiteRT runs `concurrency` of them at once. `auto` is the
    runtime that `choose` returns.

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
        package = "OpenVINO" if runtime == "openvino" else "TensorFlow"
        message = f"the runtime {runtime} needs {package}, which this image lacks: {error}"
        raise UserError(message) from error
    except Exception as error:  # the frameworks' own errors have no common base
        reason = f"{type(error).__name__}: {error}"
        message = f"the artifact in {artifact.root} cannot be loaded as {runtime}: {reason}"
        raise UserError(message) from error


def _load_flatbuffer(
    artifact: Artifact, runtime: str, threads: int, concurrency: int
) -> LiteRtPredictor:
    path = artifact.root / FLATBUFFERS[runtime]
    manifest = artifact.manifest
    if runtime not in manifest.differences:
        reason = "the training was not asked for int8_export"
        if path.name == LITERT_NAME:
            reason = "the model did not convert"
        raise UserError(f"the artifact in {artifact.root} holds no {path.name}: {reason}")
    try:
        predictor = LiteRtPredictor(str(path), threads=threads, concurrency=concurrency)
    except (ValueError, RuntimeError) as error:
        raise UserError(f"{path} cannot be loaded: {error}") from error
    found = (predictor.input_shape, predictor.class_count)
    if found != (manifest.input_shape, len(manifest.classes)):
        raise UserError(
            f"{path} takes images {found[0]} and returns {found[1]} classes; its manifest has "
            f"{manifest.input_shape} and {len(manifest.classes)}: they are from different jobs"
        )
    return predictor
