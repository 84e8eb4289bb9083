"""`module.json`: what weights or a program do not say about themselves.

    {
      "module": "package.module:Class",
      "arguments": {"classes": 10},
      "weights": "model.safetensors",
      "dtype": "bfloat16",
      "inputs": [{"name": "x", "dtype": "float32", "shape": [null, 4]}]
    }

`module` is imported from an installed package, or from a file beside the manifest or in `code`.
Weights in several files are a list, or the file that names them (`model.safetensors.index.json`).
The first side of a shape is the batch; null is any length. Only weights need `module`. `dtype` is
what its floating-point parameters and inputs become; without it they are as the module makes them.
"""

import json
from pathlib import Path
from typing import Any, Final

import numpy as np

from container.errors import UserError
from container.serving.third_party import kinds
from container.serving.third_party.signature import Tensor, make_shape

NAME: Final = kinds.MODULE_MANIFEST
EXAMPLE_OF_INPUTS: Final = '{"inputs": [{"name": "x", "dtype": "float32", "shape": [null, 4]}]}'
_KEYS: Final = frozenset({"module", "arguments", "weights", "dtype", "inputs"})
NOT_OF_NUMPY: Final = frozenset({"bfloat16"})
"""Types of inputs that only PyTorch has; requests give them as float32."""


def read(directory: Path) -> dict[str, Any]:
    """Read the manifest in a directory; empty if there is none.

    Raises: UserError if it is not one.
    """
    path = directory / NAME
    if not path.is_file():
        return {}
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError, RecursionError) as error:
        raise UserError(f"{path} is not JSON: {error}") from error
    possible = ", ".join(sorted(_KEYS))
    if not isinstance(document, dict):
        raise UserError(f"{path} must be an object with some of {possible}")
    if document.keys() - _KEYS:
        unknown = ", ".join(sorted(document.keys() - _KEYS))
        raise UserError(f"{path} has the unknown keys {unknown}; possible: {possible}")
    return document


def list_weights(directory: Path, default: str) -> list[str]:
    """Return the files that hold the weights: `default` if the manifest names none.

    Raises: UserError if the manifest or the file that it names cannot be read.
    """
    names = read(directory).get("weights", default)
    if not isinstance(names, list):
        names = [str(names)]
    found: list[str] = []
    for name in map(str, names):
        parts = [name]
        if name.endswith(kinds.WEIGHTS_INDEX):
            parts = _read_index(directory / name)
        found += [part for part in parts if part not in found]
    return found


def _read_index(path: Path) -> list[str]:
    """Return the files that an index of Hugging Face names."""
    try:
        return sorted(set(json.loads(path.read_text(encoding="utf-8"))["weight_map"].values()))
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(f"{path} names no files of weights in its weight_map: {error!r}") from error


def read_inputs(directory: Path) -> list[Tensor]:
    """Return the inputs that the manifest describes; none if it does not.

    Raises: UserError if the description is wrong.
    """
    entries = read(directory).get("inputs", [])
    try:
        return [_describe(entry) for entry in entries]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        message = f"{directory / NAME}: inputs must be as in {EXAMPLE_OF_INPUTS}: {error!r}"
        raise UserError(message) from error


def read_exact_types(directory: Path) -> dict[str, str]:
    """Return PyTorch's type of each input whose type numpy lacks."""
    entries = read(directory).get("inputs", [])
    types = {str(entry["name"]): entry.get("dtype") for entry in entries}
    return {name: dtype for name, dtype in types.items() if dtype in NOT_OF_NUMPY}


def _describe(entry: dict[str, Any]) -> Tensor:
    shape = entry.get("shape")
    if shape is not None:
        shape = make_shape(shape)
    dtype = entry.get("dtype")
    if dtype in NOT_OF_NUMPY:
        dtype = "float32"
    if dtype is not None:
        dtype = np.dtype(dtype)
    return Tensor(str(entry["name"]), dtype, shape)
