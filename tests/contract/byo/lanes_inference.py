"""A handler that does what the body says, and reports on which thread."""

import json
import threading
import time
from pathlib import Path

_RUNNING = []


def model_fn(_model_dir):
    """Remember the thread."""
    return threading.get_ident()


def input_fn(data, _content_type):
    """Take text as it is."""
    return data.decode()


def predict_fn(data, model, context):
    """Obey the body."""
    _RUNNING.append(data)
    together = len(_RUNNING)
    word, _, rest = data.partition(" ")
    context.metrics.add_counter("asked", 1)
    try:
        if word == "sleep":
            time.sleep(float(rest))
        if word == "wait":
            wait_for_leave(Path(rest))
        if word == "stream":
            return stream(rest.split())
        return {"thread": threading.get_ident() == model, "together": together, "echo": data}
    finally:
        _RUNNING.pop()


def wait_for_leave(path):
    """Say that the call has begun, and end when `path` is removed."""
    path.touch()
    while path.exists():
        time.sleep(0.01)


def stream(words):
    """Yield words; `!` fails, a number sleeps, `endless` goes on for ever."""
    for word in words:
        if word == "!":
            raise KeyError("a secret of the stream")
        while word == "endless":
            yield "x" * 1000
        if word.replace(".", "").isdigit():
            time.sleep(float(word))
        yield f"{word}\n"


def output_fn(prediction, _accept):
    """Encode an answer; a stream is passed on."""
    if isinstance(prediction, dict):
        return json.dumps(prediction)
    return prediction, "text/event-stream"
