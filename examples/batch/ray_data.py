"""Predict with Ray Data: every actor loads the model once, and answers batches.

python ray_data.py MODEL_DIR ROWS.npy PREDICTIONS_DIR
"""

import sys

import numpy as np
import ray

from container.batch.local_model import LocalModel


class Predict:
    """An actor of Ray Data."""

    def __init__(self, model_dir: str) -> None:
        self.model = LocalModel(model_dir)

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Add the column `prediction` to a batch of the column `data`."""
        return {**batch, "prediction": self.model.predict(batch["data"])}


if __name__ == "__main__":
    model_dir, rows, predictions = sys.argv[1:]
    (
        ray.data.from_numpy(np.load(rows))
        .map_batches(Predict, fn_constructor_args=[model_dir], batch_size=256, concurrency=1)
        .select_columns(["prediction"])
        .write_numpy(predictions, column="prediction")
    )
