"""Fixture handlers: slow to load; the request body asks to sleep, raise, die or describe itself."""

import os
import time


def model_fn(model_dir):
    time.sleep(float(os.environ.get("LOAD_S", "0")))
    if os.environ.get("LOAD_FAULT"):
        raise EOFError(os.environ["LOAD_FAULT"])
    return os.getpid()


def transform_fn(model, data, content_type, accept):
    word, _, argument = data.decode().partition(" ")
    if word == "sleep":
        time.sleep(float(argument))
    if word == "raise":
        raise ValueError("a secret of the server")
    if word == "die":
        os._exit(7)
    return f"{word} answered by {model == os.getpid()}", "text/plain"
