"""Serves the model: takes rows of inputs, returns a number for each."""

from pathlib import Path

import numpy as np
import torch
from network import make_network


def model_fn(model_dir):
    saved = torch.load(Path(model_dir, "model.pt"), map_location="cpu", weights_only=True)
    network = make_network(saved["inputs"])
    network.load_state_dict(saved["network"])
    return network.eval()


def predict_fn(data, model):
    with torch.inference_mode():
        rows = torch.as_tensor(np.atleast_2d(data), dtype=torch.float32)
        return model(rows)[:, 0].numpy()
