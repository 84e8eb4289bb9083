"""Predict with Spark: every Python worker loads the model once, and answers partitions.

python spark.py MODEL_DIR ROWS.csv PREDICTIONS.csv
"""

import functools
import sys
from collections.abc import Iterator

import pandas as pd
from pyspark.sql import SparkSession

from container.batch.local_model import LocalModel


@functools.cache
def load(model_dir: str) -> LocalModel:
    """Load the model, once in each worker."""
    return LocalModel(model_dir)


def make_prediction(model_dir: str):
    """Return the function that Spark sends to its workers."""

    def predict(frames: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        for frame in frames:
            answers = load(model_dir).predict(frame.drop(columns="id").to_numpy())
            yield pd.DataFrame({"id": frame["id"], "prediction": list(answers.astype(float))})

    return predict


if __name__ == "__main__":
    model_dir, rows, predictions = sys.argv[1:]
    spark = SparkSession.builder.getOrCreate()
    frame = spark.read.csv(rows, header=True, inferSchema=True)
    answers = frame.mapInPandas(make_prediction(model_dir), "id long, prediction array<double>")
    answers.toPandas().to_csv(predictions, index=False)
