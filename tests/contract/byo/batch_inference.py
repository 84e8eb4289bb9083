"""A handler that predicts for several requests at once, and cannot do so with `bad`."""

import time


def model_fn(_model_dir):
    """Need no model."""
    return 2


def input_fn(data, _content_type):
    """Take text."""
    return data.decode()


def predict_batch_fn(texts, model):
    """Say how many there were."""
    if "bad" in texts:
        raise KeyError("a secret of the batch")
    time.sleep(0.05)  # so that others come meanwhile
    return [(text * model, len(texts)) for text in texts]


def output_fn(prediction, _accept):
    """Encode."""
    return f"{prediction[0]} of {prediction[1]}", "text/plain"
