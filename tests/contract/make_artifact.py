"""Fixture program: `python make_artifact.py MODEL_DIR` trains a small classifier of handwritten digits and exports it.

Independent of `container.training`, so that the server's tests hold whatever training does.
"""

import sys
from pathlib import Path

import keras
import tensorflow as tf
from sklearn.datasets import load_digits

from container import artifact

digits = load_digits()
images = (digits.images * 15.9375).astype("uint8")[..., None]
inputs = keras.Input(shape=(8, 8, 1), dtype="uint8")
hidden = keras.layers.Rescaling(1 / 255)(inputs)
hidden = keras.layers.Conv2D(8, 3, activation="relu")(hidden)
hidden = keras.layers.Flatten()(hidden)
model = keras.Model(inputs, keras.layers.Dense(10, activation="softmax")(hidden))
model.compile("adam", "sparse_categorical_crossentropy")
model.fit(images, digits.target, epochs=6, verbose=0)
with artifact.staging(Path(sys.argv[1])) as stage:
    model.save(stage / "model.keras")
    model.export(stage / "saved_model", verbose=False)
    (stage / "model.tflite").write_bytes(tf.lite.TFLiteConverter.from_saved_model(str(stage / "saved_model")).convert())
    artifact.publish(stage, artifact.Manifest((8, 8, 1), tuple(range(10)), {}, {}, 1.0, {}))
