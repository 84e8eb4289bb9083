"""Serves the trees: rows of features in, the probability of label 1 for each row out."""

import io
from pathlib import Path

import numpy as np
import xgboost
from sagemaker_inference import decoder


def model_fn(model_dir):
    return xgboost.Booster(model_file=Path(model_dir, "model.json"))


def input_fn(data, content_type):
    if content_type == "text/csv":  # the decoder gives columns of different types a dtype each
        return np.loadtxt(io.StringIO(data), delimiter=",", ndmin=2)
    return decoder.decode(data, content_type)


def predict_fn(data, model):
    return model.predict(xgboost.DMatrix(np.atleast_2d(data)))
