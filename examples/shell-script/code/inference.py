"""Completes the beginning of a word by the commonest word of the training text."""

from pathlib import Path


def model_fn(model_dir):
    return [line.split()[1] for line in Path(model_dir, "words.txt").read_text().splitlines()]


def transform_fn(model, data, content_type, accept):
    start = data.decode().strip().lower()
    return next((word for word in model if word.startswith(start)), "") + "\n", "text/plain"
