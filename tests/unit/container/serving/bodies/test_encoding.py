"""Probabilities to bodies; the oracles are numpy, json and csv."""

import csv
import io
import json
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from container.serving.bodies import encoding


@given(
    probabilities=st_numpy.arrays(
        np.float32, st.tuples(st.integers(1, 4), st.just(3)), elements=st.floats(0, 1, width=32)
    ),
    end_of_line=st.booleans(),
)
def test_answers_in_every_media_type_hold_the_same_float32(
    probabilities: Any, *, end_of_line: bool
) -> None:
    classes = (3, 'a "b"', "é")

    def encode(name: str) -> bytes:
        return encoding.encode(name, probabilities, classes, end_of_line=end_of_line)

    document = json.loads(encode("application/json"))
    rows = list(csv.reader(io.StringIO(encode("text/csv").decode())))
    best = probabilities.argmax(axis=1).tolist()
    assert np.array_equal(np.float32(document["outputs"]), probabilities)
    assert np.array_equal(np.array(rows, np.float32), probabilities)
    assert np.array_equal(np.load(io.BytesIO(encode("application/x-npy"))), probabilities)
    assert set(document) == {"outputs", "predictions"}
    assert [prediction["index"] for prediction in document["predictions"]] == best
    assert [prediction["label"] for prediction in document["predictions"]] == [
        classes[index] for index in best
    ]
    assert np.array_equal(
        np.float32([prediction["score"] for prediction in document["predictions"]]),
        probabilities.max(axis=1),
    )
    assert encode("text/csv").endswith(b"\n") == end_of_line
    assert encode("application/json").endswith(b"\n") == end_of_line


def test_json_lines_answer_has_a_line_for_each_image() -> None:
    probabilities = np.array([[0.25, 0.75], [1, 0]], np.float32)

    body = encoding.encode("application/jsonlines", probabilities, ("a", "b"), end_of_line=False)

    assert [json.loads(line) for line in body.split(b"\n")] == [
        {"output": [0.25, 0.75], "prediction": {"label": "b", "index": 1, "score": 0.75}},
        {"output": [1, 0], "prediction": {"label": "a", "index": 0, "score": 1}},
    ]
