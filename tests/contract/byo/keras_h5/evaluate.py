"""The evaluation script that belongs to `train.py`, for a processing job."""

import json
import tarfile
from pathlib import Path

import keras
import numpy as np

if __name__ == "__main__":
    with tarfile.open("/opt/ml/processing/model/model.tar.gz") as archive:
        archive.extract("model.h5", "/opt/ml/processing/unpacked")
    model = keras.models.load_model("/opt/ml/processing/unpacked/model.h5")
    [path] = Path("/opt/ml/processing/test").glob("*.csv")
    rows = np.loadtxt(path, delimiter=",")
    predicted = model.predict(rows[:, 1:] / rows[:, 1:].max(), verbose=0).argmax(axis=1)
    accuracy = float((predicted == rows[:, 0]).mean())
    report = {"multiclass_classification_metrics": {"accuracy": {"value": accuracy}}}
    directory = Path("/opt/ml/processing/evaluation")
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "metrics.json").write_text(json.dumps(report))
