"""From probabilities to an answer's body.

A record that could not be decoded has no probabilities; it gets a placeholder at its place (BT-9).
"""

import functools
import io
import json
import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from container.serving.bodies.media_types import CSV, JSON, JSON_LINES, NPY

Probabilities: TypeAlias = NDArray[np.float32]
"""`[n, class] float32`"""
Classes: TypeAlias = tuple[int | str, ...]
Errors: TypeAlias = Mapping[int, str]
"""What is wrong with each record that has no probabilities, by its number among all, from 0."""

_NUMBER: Final = "%.9g"  # nine digits distinguish any two float32


def are_finite(probabilities: Probabilities) -> bool:
    """Return whether no probability is infinite or not a number."""
    # A sum of squares takes a third of the time; it may also overflow.
    squares = np.vdot(probabilities, probabilities)
    return math.isfinite(squares) or bool(np.isfinite(probabilities).all())


def encode(
    name: str,
    probabilities: Probabilities,
    classes: Classes,
    *,
    end_of_line: bool,
    errors: Errors = MappingProxyType({}),
) -> bytes:
    """Encode probabilities as the media type `name`, one of `ENCODERS`.

    With `end_of_line` the last line of a text format is closed by a newline. A transform job that
    assembles by line adds one itself (BT-8).
    """
    encoded = ENCODERS[name](probabilities, classes, errors)
    return encoded + b"\n" if end_of_line and name != NPY else encoded


def _encode_json(probabilities: Probabilities, classes: Classes, errors: Errors) -> bytes:
    row_format, prediction_formats = _make_json_formats(classes)
    outputs = []
    predictions = []
    for row in probabilities.tolist():
        score = max(row)
        outputs.append(row_format % tuple(row))
        predictions.append(prediction_formats[row.index(score)] % score)
    if errors:
        outputs = _insert(outputs, dict.fromkeys(errors, "null"))
        predictions = _insert(predictions, _to_json_errors(errors))
    return (
        f'{{"outputs": [{", ".join(outputs)}], "predictions": [{", ".join(predictions)}]}}'.encode()
    )


def _encode_json_lines(probabilities: Probabilities, classes: Classes, errors: Errors) -> bytes:
    row_format, prediction_formats = _make_json_formats(classes)
    lines = []
    for row in probabilities.tolist():
        score = max(row)
        prediction = prediction_formats[row.index(score)] % score
        lines.append(f'{{"output": {row_format % tuple(row)}, "prediction": {prediction}}}')
    if errors:
        lines = _insert(lines, _to_json_errors(errors))
    return "\n".join(lines).encode()


@functools.lru_cache(maxsize=256)
def _make_json_formats(classes: Classes) -> tuple[str, list[str]]:
    """Return the format of a row of probabilities, and of a prediction of each class."""
    labels = [json.dumps(label).replace("%", "%%") for label in classes]
    predictions = [
        f'{{"label": {label}, "index": {index}, "score": {_NUMBER}}}'
        for index, label in enumerate(labels)
    ]
    return "[" + ", ".join([_NUMBER] * len(classes)) + "]", predictions


def _to_json_errors(errors: Errors) -> dict[int, str]:
    return {place: json.dumps({"error": error}) for place, error in errors.items()}


def _encode_csv(probabilities: Probabilities, classes: Classes, errors: Errors) -> bytes:
    row_format = ",".join([_NUMBER] * len(classes))
    lines = [row_format % tuple(row) for row in probabilities.tolist()]
    if errors:
        # A placeholder has the fields of the other lines, all empty, so that readers find columns.
        lines = _insert(lines, dict.fromkeys(errors, "," * (len(classes) - 1)))
    return "\n".join(lines).encode()


def _encode_npy(probabilities: Probabilities, classes: Classes, errors: Errors) -> bytes:
    if errors:
        count = len(probabilities) + len(errors)
        complete = np.full((count, len(classes)), np.nan, np.float32)
        complete[[place for place in range(count) if place not in errors]] = probabilities
        probabilities = complete
    return _make_npy_header(probabilities.shape) + probabilities.tobytes()


@functools.lru_cache(maxsize=256)
def _make_npy_header(shape: tuple[int, ...]) -> bytes:
    stream = io.BytesIO()
    header = {"descr": "<f4", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, header)
    return stream.getvalue()


def _insert(pieces: list[str], placeholders: Mapping[int, str]) -> list[str]:
    """Put placeholders at their places among the pieces of the good records."""
    good = iter(pieces)
    complete = []
    for place in range(len(pieces) + len(placeholders)):
        if place in placeholders:
            complete.append(placeholders[place])
        else:
            complete.append(next(good))
    return complete


ENCODERS: Final[Mapping[str, Callable[[Probabilities, Classes, Errors], bytes]]] = {
    JSON: _encode_json,
    JSON_LINES: _encode_json_lines,
    CSV: _encode_csv,
    NPY: _encode_npy,
}
