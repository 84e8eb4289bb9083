"""Configurations of Keras 2, as `tf_keras` 2.21 wrote them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from container.serving.third_party.loaders import keras_two


def make_model(kind: str) -> dict[str, Any]:
    """Return a functional model that calls a nested one twice."""
    inner = {"name": "inner", "layers": [{"class_name": "Dense", "config": {"name": "dense"}}]}
    layers = [
        {"class_name": "InputLayer", "config": {"name": "input_1"}, "inbound_nodes": []},
        {
            "class_name": kind,
            "config": inner,
            "inbound_nodes": [[["input_1", 0, 0, {}]], [["inner", 1, 0, {}]]],
        },
        {
            "class_name": "Add",
            "config": {"name": "add"},
            "inbound_nodes": [[["inner", 1, 0, {}], ["inner", 2, 0, {"mask": ["inner", 1, 0]}]]],
        },
    ]
    config = {"name": "model", "layers": layers, "output_layers": [["inner", 2, 0], ["add", 0, 0]]}
    return {"class_name": "Functional", "config": config}


@pytest.mark.parametrize("kind", ["Sequential", "Functional"])
def test_calls_of_a_nested_model_are_counted_from_zero(kind: str) -> None:
    text = keras_two._rewrite(json.dumps(make_model(kind)), lambda _: None)  # noqa: SLF001 - pure
    config = json.loads(text)["config"]
    _, inner, add = config["layers"]
    assert inner["inbound_nodes"] == [[["input_1", 0, 0, {}]], [["inner", 0, 0, {}]]]
    assert add["inbound_nodes"] == [
        [["inner", 0, 0, {}], ["inner", 1, 0, {"mask": ["inner", 0, 0]}]]
    ]
    assert config["output_layers"] == [["inner", 1, 0], ["add", 0, 0]]


def test_calls_of_a_layer_stay() -> None:
    model = make_model("Dense")
    del model["config"]["layers"][1]["config"]["layers"]
    text = keras_two._rewrite(json.dumps(model), lambda _: None)  # noqa: SLF001 - pure
    assert json.loads(text) == model


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("TFOpLambda", "applies functions of TensorFlow"),
        ("SlicingOpLambda", "applies functions of TensorFlow"),
        ("LocallyConnected1D", "Keras 3 has no layer LocallyConnected1D"),
        ("Scale", ""),
    ],
)
def test_what_keras_3_lacks_is_no_layer_of_the_users(name: str, reason: str) -> None:
    assert reason in keras_two.explain(name)
    assert bool(keras_two.explain(name)) == bool(reason)
