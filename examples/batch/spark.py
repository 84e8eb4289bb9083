"""Predict with Spark: every task loads the model once, and answers the frames of a partition.

python spark.py MODEL_DIR ROWS.csv PREDICTIONS.jsonl
"""

import sys
from collections.abc import Iterator

import pandas as pd
from pyspark.sql import SparkSession

from container.batch.local_model import LocalModel


def make_prediction(model_dir: str):
    """Return the function that Spark sends to its workers."""

    def predict(frames: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        model = LocalModel(model_dir)
        for frame in frames:
            answers = model.predict(frame.drop(columns="id").to_numpy())
            yield pd.DataFrame({"id": frame["id"], "prediction": list(answers.astype(float))})

    return predict


if __name__ == "__main__":
    model_dir, rows, predictions = sys.argv[1:]
    spark = SparkSession.builder.getOrCreate()
    frame = spark.read.csv(rows, header=True, inferSchema=True)
    answers = frame.mapInPandas(make_prediction(model_dir), "id long, prediction array<double>")
    answers.toPandas().to_json(predictions, orient="records", lines=True)
