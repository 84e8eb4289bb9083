"""Score `model.h5` on `mnist_test.csv`; write `evaluation/metrics.json`.

At the end of the training job, or as a processing job of its own.
"""

import json
import os
import shutil
from pathlib import Path

import keras
import numpy as np

processing = Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml"), "processing")
if processing.exists():  # the platform lays inputs and outputs here, the model packed as it was
    testing, model_dir, output = (
        processing / "test",
        processing / "model",
        processing / "evaluation",
    )
    shutil.unpack_archive(model_dir / "model.tar.gz", model_dir)
else:
    testing, model_dir = Path(os.environ["SM_CHANNEL_TESTING"]), Path(os.environ["SM_MODEL_DIR"])
    output = Path(os.environ["SM_OUTPUT_DIR"], "evaluation")

table = np.loadtxt(testing / "mnist_test.csv", np.uint8, delimiter=",", skiprows=1)
labels, images = table[:, 0], table[:, 1:].reshape(-1, 28, 28, 1)
model = keras.models.load_model(model_dir / "model.h5", compile=False)
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
output.mkdir(parents=True, exist_ok=True)
(output / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n")
print(" ".join(f"test_{name}={value:.4f};" for name, value in metrics.items()))
