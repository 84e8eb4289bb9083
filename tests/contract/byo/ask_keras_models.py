"""Fixture program: serves Keras models of several ages and names; prints all answers as JSON.

`ask_keras_models.py SCRATCH`. What Keras 2 wrote is forged by what `tf.keras` 2.15 writes into the
configuration of these layers.
"""

import json
import shutil
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np

from container import contract
from container.errors import UserError
from container.serving.exchange import Request
from container.serving.user_code import handlers

scratch = Path(sys.argv[1])
layers = keras.layers
answers: dict[str, Any] = {}


def make_directory(name: str) -> Path:
    (scratch / name / "model").mkdir(parents=True)
    return scratch / name / "model"


def ask(name: str, body: str, content_type: str = "application/json") -> Any:
    """Serve what is in a directory, and return its answer, or the error."""
    try:
        found = handlers.find(contract.Layout(scratch / name), {})
        assert found is not None
        response = found.load().invoke(Request(body.encode(), {"content-type": content_type}))
    except UserError as error:
        return str(error)
    answer = json.loads(response.body)
    if isinstance(answer, dict):
        answer = answer.get("predictions", answer.get("error"))
    return answer


def visit(value: Any, change: Callable[[dict[str, Any]], None]) -> None:
    if isinstance(value, dict):
        if "class_name" in value and isinstance(value.get("config"), dict):
            change(value)
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            visit(item, change)


def age(entry: dict[str, Any]) -> None:
    """Write a layer as Keras 2 does."""
    config = entry["config"]
    if entry["class_name"] == "DepthwiseConv2D":
        config["groups"] = 1
    if entry["class_name"] == "LSTM":
        config |= {"time_major": False, "implementation": 2}
    if entry["class_name"] == "InputLayer":
        config["batch_input_shape"] = config.pop("batch_shape")
        config["ragged"] = False
    if entry["class_name"] == "Functional":
        entry["module"] = "keras.src.engine.functional"
    if entry["class_name"] == "BatchNormalization":
        config["axis"] = [config["axis"]]
    config.pop("quantization_config", None)
    if isinstance(config.get("dtype"), dict):
        config["dtype"] = config["dtype"]["config"]["name"]


def split(entry: dict[str, Any]) -> None:
    """Give a layer an argument that changes what it computes, and that Keras 3 lacks."""
    age(entry)
    if entry["class_name"] == "DepthwiseConv2D":
        entry["config"]["groups"] = 2


def nest(entry: dict[str, Any]) -> None:
    """Write a functional model as Keras 2 does, which counts the calls of models in it from 1."""
    age(entry)
    if entry["class_name"] == "Functional":
        entry.pop("module", None)  # which HDF5 files lack
        layers = entry["config"]["layers"]
        models = [layer["config"]["name"] for layer in layers if "layers" in layer["config"]]
        for layer in layers:
            configs = [node["args"][0]["config"] for node in layer["inbound_nodes"]]
            names = [config["keras_history"][0] for config in configs]
            layer["inbound_nodes"] = [[[name, int(name in models), 0, {}]] for name in names]


def forge_h5(source: Path, target: Path, change: Callable[[dict[str, Any]], None]) -> None:
    shutil.copyfile(source, target)
    with h5py.File(target, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        visit(config, change)
        file.attrs["model_config"] = json.dumps(config)
        file.attrs["keras_version"] = "2.15.0"


def forge_archive(source: Path, target: Path) -> None:
    with zipfile.ZipFile(source) as archive, zipfile.ZipFile(target, "w") as copy:
        for name in archive.namelist():
            content = archive.read(name)
            if name == "config.json":
                config = json.loads(content)
                visit(config, age)
                content = json.dumps(config).encode()
            if name == "metadata.json":
                content = json.dumps({"keras_version": "2.15.0"}).encode()
            copy.writestr(name, content)


inputs = keras.Input((6, 6, 2))
features = layers.BatchNormalization()(layers.DepthwiseConv2D(3)(inputs))
features = layers.LSTM(3)(layers.Reshape((4, 8))(features))
model = keras.Model(inputs, layers.Dense(2)(features))
batch = np.random.default_rng(0).normal(size=(2, 6, 6, 2)).astype(np.float32)
body = json.dumps({"instances": batch.tolist()})
answers["expected"] = model.predict(batch, verbose=0).tolist()
model.save(scratch / "three.h5")
model.save(scratch / "three.keras")
for name in ("upper.H5", "long.hdf5", "no-suffix"):
    shutil.copyfile(scratch / "three.h5", make_directory(name) / name)
    answers[name] = ask(name, body)
forge_h5(scratch / "three.h5", make_directory("two.h5") / "two.h5", age)
forge_archive(scratch / "three.keras", make_directory("two.keras") / "two.keras")
forge_h5(scratch / "three.h5", make_directory("two refused") / "two.h5", split)
for name in ("two.h5", "two.keras", "two refused"):
    answers[name] = ask(name, body)

# Models in a model

parts = [keras.Sequential([keras.Input((4,)), layers.Dense(3)])]
inputs = keras.Input((3,))
parts.append(keras.Model(inputs, layers.Dense(2)(inputs)))
inputs = keras.Input((4,))
outer = keras.Model(inputs, layers.Dense(2)(parts[1](parts[0](inputs))))
answers["nested expected"] = outer(np.ones((1, 4))).numpy().tolist()
outer.save(scratch / "outer.h5")
forge_h5(scratch / "outer.h5", make_directory("two nested") / "two.h5", nest)
answers["two nested"] = ask("two nested", "[[1, 1, 1, 1]]")

# Text

words = layers.TextVectorization(max_tokens=9, output_sequence_length=3)
words.adapt(["a good day", "a bad day"])
text = keras.Input((1,), dtype="string", name="review")
text_model = keras.Model(text, layers.Dense(1)(layers.Embedding(9, 2)(words(text))))
text_model.save(make_directory("text") / "model.keras")
reviews = ["a good day", "a, bad"]
expected = text_model(keras.ops.convert_to_tensor([[review] for review in reviews])).numpy()
answers["text expected"] = expected.tolist()
answers["text"] = ask("text", json.dumps({"instances": [{"review": review} for review in reviews]}))
answers["text csv"] = ask("text", 'review\na good day\n"a, bad"\n', "text/csv")
answers["text csv expected"] = expected.tolist()
answers["text refused"] = ask("text", "[[1]]")

# Indices of embeddings, of which TensorFlow counts negative ones from the end

words = [keras.Input((2,), dtype="int32", name=name) for name in ("first", "second")]
shared = layers.Embedding(4, 1, embeddings_initializer="ones")
keras.Model(words, layers.Add()([shared(word) for word in words])).save(
    make_directory("embedding") / "model.keras"
)
for index in ("2", "4", "-1"):
    instance = f'{{"first": [0, 3], "second": [1, {index}]}}'
    answers[f"embedding {index}"] = ask("embedding", f'{{"instances": [{instance}]}}')

# Inputs in a dictionary, and a state that would go from client to client

named = {name: keras.Input((1,), name=name.upper()) for name in ("y", "x")}
difference = layers.Subtract()([named["y"], named["x"]])
keras.Model(named, difference).save(make_directory("named") / "model.keras")
answers["named"] = ask("named", '{"instances": [{"x": [1], "y": [5]}]}')
memory = keras.Sequential([keras.Input((5, 2), batch_size=1), layers.LSTM(2, stateful=True)])
memory.save(make_directory("stateful") / "model.keras")
answers["stateful"] = ask("stateful", "[[[1, 1]]]")

# A layer of one's own

CUSTOM = """import keras
@keras.saving.register_keras_serializable()
class Scale(keras.layers.Layer):
    def call(self, inputs):
        return 2 * inputs
"""
space: dict[str, Any] = {"__name__": "training"}
exec(CUSTOM.replace("@keras.saving.register_keras_serializable()", ""), space)  # noqa: S102 - ours
own = keras.Sequential([keras.Input((2,)), space["Scale"]()])
own.save(make_directory("custom") / "model.keras")
answers["custom"] = ask("custom", "[[1, 2]]")
(scratch / "custom/model/code").mkdir()
(scratch / "custom/model/code/inference.py").write_text(CUSTOM)
answers["custom with code"] = ask("custom", "[[1, 2]]")
print(json.dumps(answers))
