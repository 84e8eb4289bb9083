"""The service's own request shapes, from botocore's model: what is wrong with a request, before anything runs.

Rules of this file: pure but for loading the model; every fault is collected; a fault names the
field, what was found and what is possible. The only liberty: where the API wants an `s3://` URI,
`file:///...` is accepted as well.
"""

from __future__ import annotations

import difflib
import functools
import re
from collections.abc import Mapping
from typing import Any, Final

import botocore.loaders
import botocore.model

_TYPES: Final[Mapping[str, tuple[type | tuple[type, ...], str]]] = {
    "string": (str, "a string"),
    "structure": (dict, "an object"),
    "map": (dict, "an object"),
    "list": (list, "a list"),
    "integer": (int, "an integer"),
    "long": (int, "an integer"),
    "float": ((int, float), "a number"),
    "double": ((int, float), "a number"),
    "boolean": (bool, "true or false"),
}
_S3_URI_PATTERN = "(https|s3)://"
_SHOWN_CHOICES = 8


@functools.cache
def service_model() -> botocore.model.ServiceModel:
    """Load botocore's model of the SageMaker API (a quarter of a second, once)."""
    return botocore.model.ServiceModel(
        botocore.loaders.Loader().load_service_model("sagemaker", "service-2")
    )


def find_faults(operation: str, request: Any) -> list[str]:
    """Give a line for everything that the service's model refuses in `request`, such as `CreateTrainingJob`'s."""
    shape = service_model().operation_model(operation).input_shape
    faults: list[str] = []
    _walk(shape, request, "", faults)
    return faults


def _walk(shape: Any, value: Any, path: str, faults: list[str]) -> None:
    expected, noun = _TYPES[shape.type_name]
    is_expected = isinstance(value, expected) and (
        shape.type_name == "boolean" or not isinstance(value, bool)
    )
    if not is_expected:
        faults.append(f"{path or 'request'}: {noun} is expected, found {value!r}")
    elif shape.type_name == "structure":
        _walk_structure(shape, value, path, faults)
    elif shape.type_name == "map":
        _check_size(shape, len(value), "entries", path, faults)
        for key, item in value.items():
            _walk(shape.key, key, f"{path}[{key!r}] name", faults)
            _walk(shape.value, item, f"{path}[{key!r}]", faults)
    elif shape.type_name == "list":
        _check_size(shape, len(value), "items", path, faults)
        for index, item in enumerate(value):
            _walk(shape.member, item, f"{path}[{index}]", faults)
    elif shape.type_name == "string":
        _check_text(shape, value, path, faults)
    elif shape.type_name != "boolean":
        _check_size(shape, value, "", path, faults)


def _walk_structure(shape: Any, value: dict[str, Any], path: str, faults: list[str]) -> None:
    faults.extend(
        f"{_join(path, name)}: is required" for name in shape.required_members if name not in value
    )
    for name, item in value.items():
        if name in shape.members:
            _walk(shape.members[name], item, _join(path, name), faults)
        else:
            near = difflib.get_close_matches(name, shape.members, n=1)
            hint = (
                f"did you mean {near[0]}?" if near else f"possible are {', '.join(shape.members)}"
            )
            faults.append(f"{_join(path, name)}: no such field; {hint}")


def _check_size(shape: Any, size: float, unit: str, path: str, faults: list[str]) -> None:
    low, high = shape.metadata.get("min"), shape.metadata.get("max")
    if (low is not None and size < low) or (high is not None and size > high):
        possible = (
            f"{'-inf' if low is None else low} to {'any number of' if high is None else high}"
        )
        faults.append(
            f"{path}: {size} {unit} found, {possible} possible".replace("  ", " ").replace(
                " ,", ","
            )
        )


def _check_text(shape: Any, value: str, path: str, faults: list[str]) -> None:
    _check_size(shape, len(value), "characters", path, faults)
    if shape.enum and value not in shape.enum:
        near = difflib.get_close_matches(value, shape.enum, n=3)
        shown = shape.enum if len(shape.enum) <= _SHOWN_CHOICES else near
        possible = (
            f"possible are {', '.join(shown)}"
            if shown
            else f"{len(shape.enum)} values are possible"
        )
        faults.append(f"{path}: {value!r} found; {possible}")
    pattern = shape.metadata.get("pattern")
    if pattern and pattern.startswith(_S3_URI_PATTERN) and re.fullmatch(r"file:///.*", value):
        return
    if pattern and not _compile(pattern).fullmatch(value):
        faults.append(f"{path}: {value!r} does not match {pattern}")


@functools.cache
def _compile(pattern: str) -> re.Pattern[str]:
    # The model writes Java's classes; Python's `re` has no Unicode classes, so these are their
    # widest equivalents.
    for java, python in (
        (r"\p{L}", r"^\W\d_"),
        (r"\p{N}", r"\d"),
        (r"\p{Z}", r"\s"),
        (r"\p{Alnum}", "a-zA-Z0-9"),
    ):
        pattern = pattern.replace(java, python if java != r"\p{L}" else r"\w")
    return re.compile(pattern, re.DOTALL)


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
