"""Fixture algorithm: classifies a point by the nearest class mean, learned over epochs."""

import json
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from container.algorithm import Job, field

CHANNELS = ("training", "validation?")
METRICS = ("accuracy", "train_loss")


@dataclass(frozen=True)
class Hyperparameters:  # noqa: D101 - as users write it
    epochs: int = field(3, "passes over the data", low=1, high=100_000)
    learning_rate: float = field(0.5, "share of the way to the mean", low=0.001, high=1.0)
    distance: str = field("euclidean", "how near is measured", choices=("euclidean", "manhattan"))
    pause_s: float = field(0.0, "rest between epochs", unit="seconds", low=0.0)
    note: str = field("", "kept with the model")


def train(job: Job[Hyperparameters]) -> None:
    table = np.concatenate(
        [
            np.loadtxt(file, delimiter=",", ndmin=2)
            for file in job.channels["training"].glob("*.csv")
        ]
    )
    labels, points = table[:, 0].astype(int), table[:, 1:]
    means = np.zeros((labels.max() + 1, points.shape[1]))
    for epoch in range(job.hyperparameters.epochs):
        for label in range(len(means)):
            means[label] += job.hyperparameters.learning_rate * (
                points[labels == label].mean(axis=0) - means[label]
            )
        found = predict({"means": means}, points)
        job.log_metrics(accuracy=float(np.mean(found == labels)), train_loss=float("nan"))
        if job.should_stop:
            print(f"stopped after epoch {epoch + 1}")
            break
        time.sleep(job.hyperparameters.pause_s)
    (job.model_dir / "means.json").write_text(json.dumps(means.tolist()))


def load(model_dir: Path):
    return {"means": np.array(json.loads((model_dir / "means.json").read_text()))}


def predict(model, data):
    return np.abs(np.atleast_2d(data)[:, None] - model["means"]).sum(axis=2).argmin(axis=1)
