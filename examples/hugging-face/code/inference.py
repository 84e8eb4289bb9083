"""Serves the model: `{"inputs": TEXT or [TEXT, ...]}` in, a label and its score for each text out.

The form is that of Hugging Face's own containers.
"""

import json

import torch
from sagemaker_inference.errors import UnsupportedFormatError
from transformers import AutoModelForSequenceClassification, AutoTokenizer


def model_fn(model_dir):
    model = AutoModelForSequenceClassification.from_pretrained(model_dir, local_files_only=True)
    return model.eval(), AutoTokenizer.from_pretrained(model_dir, local_files_only=True)


def input_fn(data, content_type):
    if content_type != "application/json":
        raise UnsupportedFormatError(content_type)
    inputs = json.loads(data)["inputs"]
    return [inputs] if isinstance(inputs, str) else inputs


def predict_fn(data, model):
    network, tokenizer = model
    with torch.inference_mode():
        scores = network(**tokenizer(data, padding=True, return_tensors="pt")).logits.softmax(1)
    best = scores.max(dim=1)
    return [
        {"label": network.config.id2label[number], "score": round(score, 4)}
        for score, number in zip(best.values.tolist(), best.indices.tolist(), strict=True)
    ]
