"""Scores `model.h5` on `mnist_test.csv`: accuracy, precision, recall and f1 in `output/evaluation/metrics.json`."""

import json
import os
from pathlib import Path

import keras
import numpy as np

table = np.loadtxt(Path(os.environ["SM_CHANNEL_TESTING"], "mnist_test.csv"), np.uint8, delimiter=",", skiprows=1)
labels, images = table[:, 0], table[:, 1:].reshape(-1, 28, 28, 1)
model = keras.models.load_model(Path(os.environ["SM_MODEL_DIR"], "model.h5"), compile=False)
predictions = model.predict(images, verbose=0).argmax(axis=1)

confusion = np.zeros((10, 10))
np.add.at(confusion, (labels, predictions), 1)
hits = confusion.diagonal()
precision = hits / np.maximum(confusion.sum(axis=0), 1)
recall = hits / np.maximum(confusion.sum(axis=1), 1)
metrics = {
    "accuracy": hits.sum() / confusion.sum(),
    "precision": precision.mean(),
    "recall": recall.mean(),
    "f1": (2 * precision * recall / np.maximum(precision + recall, 1e-12)).mean(),
}
path = Path(os.environ["SM_OUTPUT_DIR"], "evaluation", "metrics.json")
path.parent.mkdir(parents=True, exist_ok=True)
path.write_text(json.dumps(metrics, indent=2) + "\n")
print(" ".join(f"test_{name}={value:.4f};" for name, value in metrics.items()))
