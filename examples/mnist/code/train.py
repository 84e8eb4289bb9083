"""Trains a small convolutional network on `mnist_train.csv` and saves it as `model.h5`."""

import argparse
import os
import runpy
from pathlib import Path

import keras
import numpy as np

parser = argparse.ArgumentParser()
parser.add_argument("--epochs", type=int, default=5)
parser.add_argument("--batch-size", type=int, default=32)
parser.add_argument("--learning-rate", type=float, default=0.003)
arguments, others = parser.parse_known_args()
if others:  # the SDKs may add --model_dir
    print("ignored:", *others, flush=True)

table = np.loadtxt(
    Path(os.environ["SM_CHANNEL_TRAINING"], "mnist_train.csv"), np.uint8, delimiter=",", skiprows=1
)
labels, images = table[:, 0], table[:, 1:].reshape(-1, 28, 28, 1)

model = keras.Sequential(
    [
        keras.Input((28, 28, 1)),
        keras.layers.Rescaling(1 / 255),  # inside the model, so that clients send plain pixels
        keras.layers.Conv2D(16, 5, strides=2, activation="relu"),
        keras.layers.Conv2D(32, 3, strides=2, activation="relu"),
        keras.layers.Flatten(),
        keras.layers.Dense(10, activation="softmax"),
    ]
)
model.compile(
    keras.optimizers.Adam(arguments.learning_rate),
    "sparse_categorical_crossentropy",
    metrics=["accuracy"],
)
for epoch in range(arguments.epochs):
    history = model.fit(images, labels, batch_size=arguments.batch_size, verbose=0).history
    print(
        f"epoch={epoch + 1}; train_loss={history['loss'][0]:.4f}; "
        f"train_accuracy={history['accuracy'][0]:.4f};"
    )
model.save(Path(os.environ["SM_MODEL_DIR"], "model.h5"))

if "SM_CHANNEL_TESTING" in os.environ:
    runpy.run_path(
        str(Path(__file__).with_name("evaluate.py"))
    )  # a program of its own, run in this process
