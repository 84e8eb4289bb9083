"""LiteRT's interpreter after inputs that it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from container.serving.third_party import model_files
from container.serving.third_party.loaders.litert import LiteRtModel
from container.serving.third_party.model_files import Choice


@pytest.fixture(scope="module")
def adder(tmp_path_factory: pytest.TempPathFactory) -> LiteRtModel:
    """Load a model that adds `x` and `y`, both `[n, ?] float32`."""
    import tensorflow as tf  # noqa: PLC0415 - only for this fixture

    spec = [tf.TensorSpec([None, None], tf.float32, name) for name in "xy"]
    function = tf.function(lambda x, y: x + y, input_signature=spec)
    converter: Any = tf.lite.TFLiteConverter.from_concrete_functions(
        [function.get_concrete_function()]
    )
    path: Path = tmp_path_factory.mktemp("model") / "model.tflite"
    path.write_bytes(converter.convert())
    found = model_files.find(path.parent)
    assert found is not None
    return LiteRtModel(path, Choice())


def test_what_does_not_fit_is_refused_each_time_and_leaves_no_shape_behind(
    adder: LiteRtModel,
) -> None:
    def add(x_width: int, y_width: int) -> list[int]:
        feed = {"x": np.ones((2, x_width), np.float32), "y": np.ones((2, y_width), np.float32)}
        [answer] = adder._run(feed).values()  # noqa: SLF001 - beside the checks of the signature
        return list(answer.shape)

    for _ in range(3):
        with pytest.raises((RuntimeError, ValueError)):
            add(2, 3)
    assert add(3, 3) == [2, 3]
    assert add(3, 3) == [2, 3]
    assert add(2, 2) == [2, 2]
    with pytest.raises((RuntimeError, ValueError)):
        add(3, 2)
    assert add(2, 2) == [2, 2]
