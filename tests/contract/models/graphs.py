"""Graphs of TensorFlow, Keras, LiteRT and ONNX."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import onnx
import tensorflow as tf
from onnx import TensorProto, helper

from tests.contract.models.cases import CSV, JSON, Case, ask_tensor, bad, good, refuse_tensor

batch = np.arange(8, dtype=np.float32).reshape(2, 4)
ROW = [1.0, 2.0, 3.0, 4.0]


def make_network() -> keras.Model:
    return keras.Sequential([keras.Input((4,), name="x"), keras.layers.Dense(3)])


def make_keras(model: Path) -> Case:
    network = make_network()
    network.save(model / "model.keras")
    asks = ask_tensor("x", batch, np.asarray(network(batch)))
    return Case([*asks, *refuse_tensor("x", ROW)])


def make_keras_inputs(model: Path) -> Case:
    numbers = keras.Input((2,), name="numbers")
    indices = keras.Input((3,), name="indices", dtype="int32")
    embedded = keras.layers.Flatten()(keras.layers.Embedding(5, 2)(indices))
    both = keras.layers.Concatenate()([numbers, embedded])
    outputs = {"p": keras.layers.Dense(1)(both), "q": keras.layers.Dense(2)(both)}
    network = keras.Model([numbers, indices], outputs)
    network.save(model / "model.h5")
    given = {"numbers": [[1, 2]], "indices": [[1, 2, 3]]}
    answers = network([np.array([[1, 2]], np.float32), np.array([[1, 2, 3]])])
    columns = {name: np.asarray(answer) for name, answer in answers.items()}
    row = {name: rows[0] for name, rows in given.items()}
    return Case(
        [
            good(JSON, {"inputs": given}, columns),
            good(JSON, [row], [{name: column[0].tolist() for name, column in columns.items()}]),
            bad(JSON, [row | {"indices": [1, 2.5, 3]}], "the input 'indices' must be int32"),
            bad(JSON, [row | {"indices": [1, 9, 3]}], "9 is not in [0, 5)"),
            bad(JSON, [row | {"numbers": [1]}], "the input 'numbers' has the shape [1, 1]"),
            bad(JSON, [{"numbers": [1, 2]}], "the input 'indices' is missing"),
        ]
    )


def make_saved_model(model: Path) -> Case:
    """Export strings and integers, by a signature with a name of its own."""
    module = tf.Module()
    module.measure = tf.function(
        lambda s, n: {"length": tf.strings.length(s) + n, "upper": tf.strings.upper(s)},
        input_signature=[
            tf.TensorSpec((None,), tf.string, name="s"),
            tf.TensorSpec((None,), tf.int32, name="n"),
        ],
    )
    tf.saved_model.save(module, str(model / "export/1"), {"texts": module.measure})
    answer = [{"length": 3, "upper": "AB"}, {"length": 5, "upper": "123"}]
    return Case(
        [
            good(JSON, [{"s": "ab", "n": 1}, {"s": "123", "n": 2}], answer),
            good(CSV, "n,s\n1,ab\n2,123\n", answer),
            bad(CSV, "ab,1\n123,2\n", "the model has 2 inputs"),
            bad(JSON, [{"s": 5, "n": 1}], "the input 's' must be text; numbers"),
            bad(JSON, [{"s": None, "n": 1}], "the input 's' must be text; null"),
            bad(JSON, [{"s": "a", "n": 1.5}], "the input 'n' must be int32"),
            bad(CSV, "s,n\na,\n", "row 2, column 2 is ''"),
            bad(JSON, {"signature_name": "zz", "inputs": {"s": ["a"], "n": [1]}}, "by 'texts'"),
        ]
    )


def make_litert(model: Path) -> Case:
    network = make_network()
    converter = tf.lite.TFLiteConverter.from_keras_model(network)
    (model / "model.tflite").write_bytes(converter.convert())
    interpreter = tf.lite.Interpreter(str(model / "model.tflite"))
    [put] = interpreter.get_input_details()
    name = put["name"].removeprefix("serving_default_").removesuffix(":0")
    asks = ask_tensor(name, batch, np.asarray(network(batch)))
    return Case([*asks, *refuse_tensor(name, ROW)])


def save_onnx(path: Path, rows: int | str) -> None:
    weights = helper.make_tensor("w", TensorProto.FLOAT, (4, 3), np.arange(12.0))
    nodes = [
        helper.make_node("Constant", [], ["w"], value=weights),
        helper.make_node("MatMul", ["x", "w"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "fixture",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [rows, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [rows, 3])],
    )
    opset = helper.make_opsetid("", 17)
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=10), path)


def make_onnx(model: Path) -> Case:
    save_onnx(model / "model.onnx", "n")
    asks = ask_tensor("x", batch, batch @ np.arange(12.0).reshape(4, 3))
    return Case([*asks, *refuse_tensor("x", ROW)])


def make_onnx_fixed(model: Path) -> Case:
    save_onnx(model / "model.onnx", 2)
    three = np.concatenate([batch, batch[:1]])
    asks = ask_tensor("x", three, three @ np.arange(12.0).reshape(4, 3))
    return Case([*asks, *refuse_tensor("x", ROW)])


def make_onnx_training(model: Path) -> Case:
    """Normalize by the rows of a request, and drop out, inside of a branch."""
    ones = [helper.make_tensor(name, TensorProto.FLOAT, [4], [1] * 4) for name in "sbmv"]
    yes = helper.make_tensor("yes", TensorProto.BOOL, [], [True])
    half = helper.make_tensor("half", TensorProto.FLOAT, [], [0.5])
    z = helper.make_tensor_value_info("z", TensorProto.FLOAT, None)
    dropout = helper.make_node("Dropout", ["n", "half", "yes"], ["z"])
    branch = helper.make_graph([dropout], "branch", [], [z])
    nodes = [
        helper.make_node("BatchNormalization", ["x", *"sbmv"], ["n", "rm", "rv"], training_mode=1),
        helper.make_node("If", ["yes"], ["y"], then_branch=branch, else_branch=branch),
    ]
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 4]) for name in "xy")
    graph = helper.make_graph(nodes, "training", [x], [y], [*ones, yes, half])
    opset = helper.make_opsetid("", 17)
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=10), model / "model.onnx")
    return Case([])


KINDS = {
    "onnx-training": make_onnx_training,
    "keras": make_keras,
    "keras-inputs": make_keras_inputs,
    "saved-model": make_saved_model,
    "litert": make_litert,
    "onnx": make_onnx,
    "onnx-fixed": make_onnx_fixed,
}
