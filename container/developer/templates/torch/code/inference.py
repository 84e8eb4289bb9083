"""Serves the model: a number for each row of inputs, or the class of a picture."""

from pathlib import Path

import numpy as np
import torch
from data import prepare
from network import make_network


def model_fn(model_dir):
    saved = torch.load(Path(model_dir, "model.pt"), map_location="cpu", weights_only=True)
    network = make_network(saved["inputs"], saved["classes"])
    network.load_state_dict(saved["network"])
    return network.eval(), saved["classes"]


def predict_fn(data, model):
    network, classes = model
    with torch.inference_mode():
        if classes:
            scores = network(prepare(data)[None]).softmax(1)[0].tolist()
            best = classes[int(np.argmax(scores))]
            return {"class": best, "scores": dict(zip(classes, scores, strict=True))}
        rows = torch.as_tensor(np.atleast_2d(data), dtype=torch.float32)
        return network(rows)[:, 0].numpy()
