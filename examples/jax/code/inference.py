"""Serves the network: rows of features in, the class of each row out."""

from pathlib import Path

import jax.numpy as jnp
import numpy as np
from network import apply


def model_fn(model_dir):
    with np.load(Path(model_dir, "parameters.npz")) as parameters:
        return {name: jnp.asarray(value) for name, value in parameters.items()}


def predict_fn(data, model):
    rows = jnp.asarray(np.atleast_2d(data), jnp.float32)
    return np.asarray(apply(model, rows).argmax(axis=1))
