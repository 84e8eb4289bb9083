"""Serve the decision tree: rows of features in, a class for each row out, as CSV, JSON or npy."""

from pathlib import Path

import joblib
import numpy as np


def model_fn(model_dir):
    return joblib.load(Path(model_dir, "tree.joblib"))


def predict_fn(data, model):
    return model.predict(np.atleast_2d(data))
