"""Serves the trees: rows of features in, the class of each row out."""

import io
from pathlib import Path

import lightgbm
import numpy as np
from sagemaker_inference import decoder


def model_fn(model_dir):
    return lightgbm.Booster(model_file=Path(model_dir, "model.txt"))


def input_fn(data, content_type):
    if content_type == "text/csv":  # the decoder gives columns of different types a dtype each
        return np.loadtxt(io.StringIO(data), delimiter=",", ndmin=2)
    return decoder.decode(data, content_type)


def predict_fn(data, model):
    return model.predict(np.atleast_2d(data)).argmax(axis=1)
