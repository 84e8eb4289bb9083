"""LiteRT's interpreters, which take turns."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from container.runtimes.runtime_predictors import LiteRtPredictor


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Write a model that returns the four pixels of an image as its "probabilities"."""
    import tensorflow as tf  # noqa: PLC0415 - only for this fixture

    function = tf.function(
        lambda images: tf.reshape(tf.cast(images, tf.float32), [-1, 4]),
        input_signature=[tf.TensorSpec([None, 2, 2, 1], tf.uint8)],
    )
    converter: Any = tf.lite.TFLiteConverter.from_concrete_functions(
        [function.get_concrete_function()]
    )
    path: Path = tmp_path_factory.mktemp("model") / "model.tflite"
    path.write_bytes(converter.convert())
    return str(path)


@pytest.mark.parametrize("concurrency", [1, 2])
def test_threads_get_their_own_answers_from_as_many_interpreters_as_are_allowed(
    model: str, concurrency: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    predictor = LiteRtPredictor(model, threads=1, concurrency=concurrency)
    made = [1]
    make = predictor._make_pair  # noqa: SLF001 - to count

    def make_and_count() -> Any:
        made[0] += 1
        return make()

    monkeypatch.setattr(predictor, "_make_pair", make_and_count)

    def ask(number: int) -> bool:
        images = np.full((1 + number % 3, 2, 2, 1), number, np.uint8)
        return bool((predictor.predict(images) == number).all())

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, range(200), timeout=60))
    assert made[0] <= concurrency


def test_a_failed_prediction_leaves_its_interpreter_to_the_next(model: str) -> None:
    predictor = LiteRtPredictor(model, threads=1, concurrency=1)

    for _ in range(3):
        with pytest.raises((ValueError, TypeError)):
            predictor.predict(np.zeros((1, 3, 3, 1), np.uint8))
    assert predictor.predict(np.full((1, 2, 2, 1), 7, np.uint8)).tolist() == [[7.0] * 4]
