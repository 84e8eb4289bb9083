"""Rewrites files of Keras 2 so that Keras 3 loads them.

Keras 2 wrote arguments that Keras 3 no longer knows. They are dropped where they say what Keras 3
does anyway (`groups: 1`, `time_major: false`, shapes that building finds again), and refused where
they change what the model computes. Keras 2 also counts the calls of a nested model from 1.
"""

import importlib
import inspect
import json
import re
import shutil
import zipfile
from collections.abc import Callable, Container
from pathlib import Path
from typing import Any, Final

from container.errors import UserError
from container.serving.third_party import kinds

_UNUSED: Final = re.compile(
    r"(batch_input|query|key|value)_shape|input_length|implementation|rng_type|vocabulary_size|"
    r"\w+_(initializer|regularizer|constraint)"
)
"""Arguments that no prediction depends on: what building finds again, and training's."""
_MODELS: Final = {"Functional": "keras.src.models.functional", "Sequential": "keras"}
_OPERATIONS: Final = frozenset(
    {"TFOpLambda", "SlicingOpLambda", "InstanceMethod", "InstanceProperty", "ClassMethod"}
)
"""What Keras 2 makes of functions of TensorFlow between layers; Keras 3 has nothing like it."""
_REMOVED: Final = re.compile(
    r"LocallyConnected[12]D|ThresholdedReLU|CuDNN(GRU|LSTM)|Random(Height|Width)"
)
_CONFIG: Final = "config.json"
_METADATA: Final = "metadata.json"


def explain(name: str) -> str:
    """Return why Keras 3 lacks a class of Keras 2; empty for other classes."""
    if name in _OPERATIONS:
        return f"it applies functions of TensorFlow between its layers ({name})"
    if _REMOVED.fullmatch(name):
        return f"Keras 3 has no layer {name}"
    return ""


def find_version(path: Path) -> str:
    """Return the version of Keras that wrote a file; empty if it does not say."""
    try:
        if kinds.is_hdf5(path):
            h5py: Any = importlib.import_module("h5py")
            with h5py.File(path) as file:
                return str(file.attrs.get("keras_version", ""))
        with zipfile.ZipFile(path) as archive:
            return str(json.loads(archive.read(_METADATA)).get("keras_version", ""))
    except (OSError, KeyError, ValueError, RecursionError, zipfile.BadZipFile):
        return ""


def convert(path: Path, scratch: Path) -> Path:
    """Write a copy of `path` that Keras 3 can read into `scratch`.

    Raises: UserError naming the layer and the argument that Keras 3 has nothing for.
    """
    if kinds.is_hdf5(path):
        target = scratch / "converted.h5"
        shutil.copyfile(path, target)
        h5py: Any = importlib.import_module("h5py")
        with h5py.File(target, "r+") as file:
            file.attrs["model_config"] = _rewrite(file.attrs["model_config"], _clean_layer)
        return target
    target = scratch / "converted.keras"
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(target, "w") as copy:
        for member in source.infolist():
            content = source.read(member)
            if member.filename == _CONFIG:
                content = _rewrite(content, _clean_archived).encode()
            copy.writestr(member, content)
    return target


def _rewrite(text: str | bytes, clean: Callable[[dict[str, Any]], None]) -> str:
    document = json.loads(text)
    _visit(document, clean)
    _renumber_calls(document)
    return json.dumps(document)


def _visit(value: Any, clean: Callable[[dict[str, Any]], None]) -> None:
    """Clean every object of a configuration."""
    if isinstance(value, dict):
        if isinstance(value.get("config"), dict) and "class_name" in value:
            clean(value)
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            _visit(item, clean)


def _renumber_calls(value: Any) -> None:
    """Count the calls of each model inside a functional model from 0, as Keras 3 does."""
    if isinstance(value, dict) and isinstance(value.get("layers"), list):
        nested = {
            layer["config"]["name"]
            for layer in value["layers"]
            if layer.get("class_name") in _MODELS
        }
        calls = [layer.get("inbound_nodes", []) for layer in value["layers"]]
        _move_back([calls, value.get("output_layers", [])], nested)
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            _renumber_calls(item)


def _move_back(value: Any, nested: Container[str]) -> None:
    """Lower the number of each call `[layer, number, ...]` of the nested models by one."""
    if isinstance(value, dict):
        value = list(value.values())
    if not isinstance(value, list):
        return
    is_call = len(value) >= 3 and isinstance(value[0], str) and isinstance(value[1], int)
    if is_call and value[0] in nested and value[1] > 0:
        value[1] -= 1
    for item in value:
        _move_back(item, nested)


def _clean_archived(entry: dict[str, Any]) -> None:
    config = entry["config"]
    if entry["class_name"] in _MODELS:
        entry["module"] = _MODELS[entry["class_name"]]
    elif entry["class_name"] == "InputLayer" and "batch_input_shape" in config:
        config["batch_shape"] = config.pop("batch_input_shape")
    elif entry["class_name"] == "BatchNormalization" and isinstance(config.get("axis"), list):
        [config["axis"]] = config["axis"]
    _clean_layer(entry)


def _clean_layer(entry: dict[str, Any]) -> None:
    """Drop the arguments that a layer of Keras 3 does not know and does not need."""
    layers: Any = importlib.import_module("keras").layers
    layer = getattr(layers, entry["class_name"], None)
    if layer is None or entry["class_name"] == "InputLayer":
        return
    config = entry["config"]
    entry.pop("build_config", None)  # some layers build from other shapes now
    known = _list_arguments(layer)
    for name in [name for name in config if name not in known]:
        value = config[name]
        if name == "batch_input_shape" and "module" not in entry:
            continue  # the reader of HDF5 makes an input layer of it
        if not _UNUSED.fullmatch(name) and value not in (None, False, 1, [], {}):
            given = f"{entry['class_name']} has the argument {name}={value!r}"
            raise UserError(f"{given}, which Keras 3 lacks")
        del config[name]


def _take_nothing() -> None:
    """Stand for a class that has no constructor of its own."""


def _list_arguments(layer: type) -> set[str]:
    names = {"dtype", "name", "trainable", "activity_regularizer", "input_shape"}
    for base in inspect.getmro(layer):
        if base is not object:
            names.update(inspect.signature(vars(base).get("__init__", _take_nothing)).parameters)
    return names
