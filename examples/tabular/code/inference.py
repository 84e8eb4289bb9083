"""Serves the pipeline: a table with a header in, a number for each row out.

CSV, or JSON as `DataFrame.to_dict(orient="records")` makes it. Columns may come in any order.
"""

import io
import json
from pathlib import Path

import joblib
import pandas as pd
from sagemaker_inference.errors import UnsupportedFormatError


def model_fn(model_dir):
    return joblib.load(Path(model_dir, "pipeline.joblib"))


def input_fn(data, content_type):
    if content_type == "text/csv":
        return pd.read_csv(io.StringIO(data))
    if content_type == "application/json":
        return pd.DataFrame.from_records(json.loads(data))
    raise UnsupportedFormatError(content_type)


def predict_fn(data, model):
    return model.predict(data[model.feature_names_in_])
