"""Hyperparameters as each sender writes them."""

from __future__ import annotations

import pytest

from local_test.requests import hyperparameter_encodings


@pytest.mark.parametrize(
    ("encoding", "encoded"),
    [
        ("api", {"rate": "0.0001", "flag": "true", "name": "adam", "n": "3"}),
        ("sdk2-json", {"rate": "0.0001", "flag": "true", "name": '"adam"', "n": "3"}),
        ("sdk2-str", {"rate": "0.0001", "flag": "True", "name": "adam", "n": "3"}),
        ("sdk3", {"rate": "0.0001", "flag": "true", "name": "adam", "n": "3"}),
        ("tuner", {"rate": "1.0E-4", "flag": "true", "name": '"adam"', "n": "3"}),
    ],
)
def test_hyperparameters_are_written_as_each_sender_does(
    encoding: str, encoded: dict[str, str]
) -> None:
    values = {"rate": "0.0001", "flag": "true", "name": "adam", "n": "3"}

    assert (
        hyperparameter_encodings.encode_hyperparameters(values, encoding) == encoded
    )  # HP-2, HP-3, HP-6
