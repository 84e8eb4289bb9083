"""Answers of models whose outputs have unusual shapes."""

from typing import Any

import numpy as np
import pytest

from container.serving.third_party import answers


@pytest.mark.parametrize(
    ("prediction", "media_type", "body"),
    [
        (np.float32(0.5), "text/csv", b"0.5\n"),
        (np.float32(0.5), "application/json", b'{"predictions": [0.5]}'),
        (np.zeros((0, 6)), "text/csv", b"\n"),
        (np.zeros((0, 6)), "application/json", b'{"predictions": []}'),
        (np.ones((2, 2, 1), np.int64), "text/csv", b"1,1\n1,1\n"),
    ],
)
def test_output_of_any_shape_has_its_answer(prediction: Any, media_type: str, body: bytes) -> None:
    assert answers.encode(prediction, media_type) == body
