"""From a trained Keras model to the files of an artifact, each compared with it on real images.

Rules of this file: a model that does not convert costs a line in the log and a runtime in serving,
never the training.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from container import artifact, predictor
from container.data.formats.parts import Images
from container.errors import PlatformError
from container.training import phases

_FLATBUFFERS = {
    "litert": "LiteRT, and TensorFlow will serve it",
    "litert_int8": "eight-bit LiteRT, and the artifact will not contain it",
}
"""Flatbuffers by name, and what a failed conversion means."""
_COMPARED_IMAGES = 64  # several hundred took most of the time of an export


class _ConversionError(Exception):
    """The model cannot be converted; the message has the reason."""


def write_models(  # noqa: PLR0913 - most by name
    stage: Path,
    model: keras.Model,
    manifest: artifact.Manifest,
    images: Images,
    *,
    log: Callable[[str], None],
    int8: bool = False,
) -> artifact.Artifact:
    """Write the Keras model, the SavedModel and the LiteRT flatbuffers into `stage`.

    `images` `[n, height, width, channel] uint8` are real ones. With `int8` they decide the ranges
    of the activations; the first of them decide the differences from Keras' probabilities in the
    manifest.

    Returns: the artifact in `stage`.

    Raises: PlatformError if a file cannot be written; RuntimeError if Keras' probabilities are not
    finite.
    """
    serve = tf.function(
        lambda images: {"probabilities": model(images, training=False)},
        input_signature=[tf.TensorSpec([None, *model.input_shape[1:]], tf.uint8, name="images")],
    )
    module = tf.Module()
    module.variables_of_model = [variable.value for variable in model.variables]
    module.serve = serve
    differences = {}
    try:
        with phases.measure("export to Keras"):
            model.save(stage / artifact.KERAS_NAME)
        saved_model = str(stage / artifact.SAVED_MODEL_NAME)
        with phases.measure("export to SavedModel"):
            tf.saved_model.save(module, saved_model, signatures={"serving_default": serve})
        compared = tf.constant(images[:_COMPARED_IMAGES])
        expected = serve(compared)["probabilities"].numpy()
        if not np.isfinite(expected).all():
            raise RuntimeError("the trained network returns probabilities that are not finite")
        for name, without in _FLATBUFFERS.items():
            if name == "litert_int8" and not int8:
                continue
            try:
                with phases.measure(f"export to {name}"):
                    found = _convert(stage, name, manifest, images)
            except _ConversionError as error:
                log(f"the model does not convert to {without}: {error}")
                continue
            # A probability that is not a number counts as the largest difference.
            differences[name] = float(np.nan_to_num(np.abs(found - expected), nan=1.0).max())
    except (OSError, tf.errors.OpError) as error:
        raise PlatformError(f"the model cannot be written to {stage.parent}: {error}") from error
    exported = artifact.Artifact(stage, dataclasses.replace(manifest, differences=differences))
    if "litert" in differences and not exported.litert_agrees:
        log(
            f"probabilities of LiteRT differ from Keras' by up to {differences['litert']:g}, more "
            f"than {artifact.TOLERANCE:g}: TensorFlow will serve the model"
        )
    return exported


def _convert(stage: Path, name: str, manifest: artifact.Manifest, images: Images) -> Any:
    """Write a flatbuffer and return its probabilities `[n, class]` of the compared images.

    Raises: _ConversionError if that fails, without leaving a file.
    """
    path = stage / artifact.FLATBUFFERS[name]
    converter = tf.lite.TFLiteConverter.from_saved_model(str(stage / artifact.SAVED_MODEL_NAME))
    if name == "litert_int8":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([image[None]] for image in images)
    try:
        path.write_bytes(converter.convert())
        known = dataclasses.replace(manifest, differences={name: 0.0})
        loaded = predictor.load(artifact.Artifact(stage, known), runtime=name)
        return loaded.predict(images[:_COMPARED_IMAGES])
    except OSError:
        raise
    except Exception as error:  # the errors of converter and interpreter have no common base
        path.unlink(missing_ok=True)
        lines = [line for line in str(error).splitlines() if line.strip()]
        raise _ConversionError([*lines, type(error).__name__][0][:300]) from error
