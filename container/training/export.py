"""From a trained Keras model to the files of an artifact, each compared with the model on real images.

Rules of this file: what does not convert costs a line in the log and a runtime in serving, never
the training.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from container import artifact, predictor
from container.data.loading import Images
from container.errors import PlatformError


def write_models(  # noqa: PLR0913 - each by name
    stage: Path,
    model: keras.Model,
    manifest: artifact.Manifest,
    images: Images,
    *,
    log: Callable[[str], None],
    int8: bool = False,
) -> artifact.Artifact:
    """Write the Keras model, the SavedModel and the LiteRT flatbuffers into `stage`; give the artifact there.

    `images` `[n, height, width, channel] uint8` are real ones: the flatbuffers' differences in the manifest are from
    Keras' probabilities of them, and with `int8` the ranges of the activations are taken from them.

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
        model.save(stage / artifact.KERAS_NAME)
        tf.saved_model.save(
            module, str(stage / artifact.SAVED_MODEL_NAME), signatures={"serving_default": serve}
        )
        expected = serve(tf.constant(images))["probabilities"].numpy()
        if not np.isfinite(expected).all():
            message = "the trained network gives probabilities that are not finite"
            raise RuntimeError(message)
        for name in ("litert", "litert_int8") if int8 else ("litert",):
            difference = _convert(stage, name, manifest, images, expected, log)
            if difference is not None:
                differences[name] = difference
    except (OSError, tf.errors.OpError) as error:
        message = f"the model cannot be written to {stage.parent}: {error}"
        raise PlatformError(message) from error
    exported = artifact.Artifact(stage, dataclasses.replace(manifest, differences=differences))
    if "litert" in differences and not exported.litert_agrees:
        log(
            f"LiteRT's probabilities are up to {differences['litert']:g} from Keras', and {artifact.TOLERANCE:g} is "
            "right: the model will be served by TensorFlow"
        )
    return exported


def _convert(  # noqa: PLR0913, PLR0917 - what `write_models` has
    stage: Path,
    name: str,
    manifest: artifact.Manifest,
    images: Images,
    expected: np.ndarray[Any, Any],
    log: Callable[[str], None],
) -> float | None:
    """Write a flatbuffer and give its largest difference from `expected`; none and no file if that cannot be done."""
    path = stage / artifact.FLATBUFFERS[name]
    converter = tf.lite.TFLiteConverter.from_saved_model(str(stage / artifact.SAVED_MODEL_NAME))
    if name == "litert_int8":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: (
            [images[index : index + 1]] for index in range(len(images))
        )
    try:
        path.write_bytes(converter.convert())
        known = dataclasses.replace(manifest, differences={name: 0.0})
        found = predictor.load(artifact.Artifact(stage, known), runtime=name).predict(images)
    except OSError:
        raise
    except Exception as error:  # noqa: BLE001 - neither the converter's errors nor the interpreter's have a common base
        path.unlink(missing_ok=True)
        without = (
            "eight-bit LiteRT" if name == "litert_int8" else "LiteRT, and TensorFlow will serve it"
        )
        reason = next(
            (line for line in str(error).splitlines() if line.strip()), type(error).__name__
        )
        log(f"the model does not convert and is left without {without}: {reason[:300]}")
        return None
    # A probability that is not a number is as far away as can be.
    return float(np.nan_to_num(np.abs(found - expected), nan=1.0).max())
