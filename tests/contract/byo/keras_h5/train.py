"""A user's TensorFlow script as the SDK's examples have it; it knows nothing of this image."""

import argparse
import os
from pathlib import Path

import keras
import numpy as np


def load(directory):
    rows = np.concatenate(
        [np.loadtxt(path, delimiter=",") for path in sorted(Path(directory).glob("*.csv"))]
    )
    return rows[:, 1:] / rows[:, 1:].max(), rows[:, 0].astype(int)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--model_dir", type=str)
    parser.add_argument("--sm-model-dir", type=str, default=os.environ.get("SM_MODEL_DIR"))
    parser.add_argument("--train", type=str, default=os.environ.get("SM_CHANNEL_TRAINING"))
    parser.add_argument("--test", type=str, default=os.environ.get("SM_CHANNEL_TESTING"))
    arguments, _ = parser.parse_known_args()

    keras.utils.set_random_seed(0)
    x_train, y_train = load(arguments.train)
    x_test, y_test = load(arguments.test)
    model = keras.Sequential(
        [
            keras.Input((x_train.shape[1],)),
            keras.layers.Dense(64, activation="relu"),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(x_train, y_train, epochs=arguments.epochs, batch_size=arguments.batch_size, verbose=2)
    loss, accuracy = model.evaluate(x_test, y_test, verbose=0)
    print(f"epochs={arguments.epochs} test loss: {loss:.4f} test accuracy: {accuracy:.4f}")
    model.save(f"{arguments.sm_model_dir}/model.h5")
