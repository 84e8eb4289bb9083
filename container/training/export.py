"""From a trained Keras model to the files of an artefact, each checked against the model on real images."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from container import artifact, predictor
from container.dataset import Images
from container.errors import PlatformError

_TOLERANCE = 1e-5


def write_models(stage: Path, model: keras.Model, manifest: artifact.Manifest, images: Images) -> predictor.Predictor:
    """Write the Keras model, the SavedModel and the LiteRT flatbuffer into `stage`; give the loaded flatbuffer.

    `images` `[n, height, width, channel] uint8` are real ones, on which LiteRT must agree with Keras to 1e-5.

    Raises: PlatformError if a file cannot be written; RuntimeError if LiteRT disagrees.
    """
    serve = tf.function(
        lambda images: {"probabilities": model(images, training=False)},
        input_signature=[tf.TensorSpec([None, *model.input_shape[1:]], tf.uint8, name="images")],
    )
    module = tf.Module()
    module.variables_of_model = [variable.value for variable in model.variables]
    module.serve = serve
    try:
        model.save(stage / artifact.KERAS_NAME)
        tf.saved_model.save(module, str(stage / artifact.SAVED_MODEL_NAME), signatures={"serving_default": serve})
        flatbuffer = tf.lite.TFLiteConverter.from_saved_model(str(stage / artifact.SAVED_MODEL_NAME)).convert()
        (stage / artifact.LITERT_NAME).write_bytes(flatbuffer)
    except (OSError, tf.errors.OpError) as error:
        message = f"the model cannot be written to {stage.parent}: {error}"
        raise PlatformError(message) from error
    litert = predictor.load(artifact.Artifact(stage, manifest))
    difference = np.abs(litert.predict(images) - serve(tf.constant(images))["probabilities"].numpy()).max()
    if not difference <= _TOLERANCE:
        message = f"LiteRT's probabilities differ from Keras' by {difference:g}; at most {_TOLERANCE:g} is right"
        raise RuntimeError(message)
    return litert
