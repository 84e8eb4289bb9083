"""Fine-tune a Keras network on an image folder, `CLASS/NAME.png`: first the head, then all of it.

With a channel `pretrained` that holds `weights.h5` of MobileNet's trunk the training starts from
it; without, from random weights.
"""

import argparse
import json
import os
from pathlib import Path

import keras
import numpy as np

parser = argparse.ArgumentParser()
parser.add_argument("--head-epochs", type=int, default=2)
parser.add_argument("--epochs", type=int, default=4)
parser.add_argument("--image-size", type=int, default=32)
arguments, others = parser.parse_known_args()
if others:  # the SDKs may add --model_dir
    print("ignored:", *others, flush=True)

keras.utils.set_random_seed(1)
size = (arguments.image_size, arguments.image_size)
training, validation = keras.utils.image_dataset_from_directory(
    os.environ["SM_CHANNEL_TRAINING"],
    image_size=size,
    batch_size=32,
    validation_split=0.2,
    subset="both",
    seed=1,
)
classes = training.class_names

trunk = keras.applications.MobileNetV2(
    input_shape=(*size, 3), alpha=0.35, include_top=False, weights=None, pooling="avg"
)
if "SM_CHANNEL_PRETRAINED" in os.environ:
    trunk.load_weights(Path(os.environ["SM_CHANNEL_PRETRAINED"], "weights.h5"))
inputs = keras.Input((*size, 3))
hidden = keras.layers.Rescaling(1 / 127.5, offset=-1)(inputs)
model = keras.Model(inputs, keras.layers.Dense(len(classes), activation="softmax")(trunk(hidden)))

for trainable, epochs, learning_rate in (
    (False, arguments.head_epochs, 3e-3),
    (True, arguments.epochs, 1e-3),
):
    if not epochs:
        continue
    trunk.trainable = trainable
    model.compile(
        keras.optimizers.Adam(learning_rate),
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    for _ in range(epochs):
        history = model.fit(training, validation_data=validation, verbose=0).history
        print(
            " ".join(
                f"{name.replace('val_', 'validation_')}={np.mean(v):.4f};"
                for name, v in history.items()
            )
        )

model.save(Path(os.environ["SM_MODEL_DIR"], "model.keras"))
Path(os.environ["SM_MODEL_DIR"], "classes.json").write_text(json.dumps(classes))
