"""From a model's outputs to the body of an answer.

A number that JSON cannot hold (NaN, infinity) is null. Text that is not UTF-8 is `{"b64": "..."}`.
"""

import base64
import csv
import io
import json
import math
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from container.errors import RequestError
from container.serving.bodies import media_types

TYPES: Final = (media_types.JSON, media_types.CSV, media_types.NPY, media_types.JSON_LINES)


def encode(
    prediction: Any, media_type: str, *, by_row: bool = True, end_of_line: bool = True
) -> bytes:
    """Encode what a model returned as one of `TYPES`.

    JSON is `{"predictions": [...]}`, or `{"outputs": ...}` if the request was not `by_row`. With
    `end_of_line` the last line of CSV and JSON lines is closed (BT-8).

    Raises: RequestError 406 if the type cannot hold several outputs.
    """
    if media_type == media_types.JSON:
        return encode_json(prediction, by_row=by_row).encode()
    if media_type == media_types.JSON_LINES:
        lines = [json.dumps(row) for row in _to_rows(prediction)]
        return ("\n".join(lines) + "\n" * end_of_line).encode()
    if isinstance(prediction, Mapping):
        message = f"the model has several outputs, {', '.join(prediction)}; {media_type} holds one"
        raise RequestError(406, f"{message}: accept {media_types.JSON}")
    rows = np.asarray(prediction)
    if media_type == media_types.NPY:
        return _encode_npy(rows)
    rows = np.atleast_1d(rows)
    text = _encode_csv(rows.reshape(len(rows), math.prod(rows.shape[1:])))
    return (text + "\n" * end_of_line).encode()


def encode_json(prediction: Any, *, by_row: bool) -> str:
    """Encode a prediction as the answer to a predict request in JSON."""
    if by_row and _is_by_row(prediction):
        return json.dumps({"predictions": _to_rows(prediction)})
    columns: Any
    if isinstance(prediction, Mapping):
        columns = {name: to_json(column) for name, column in prediction.items()}
    else:
        columns = to_json(prediction)
    return json.dumps({"outputs": columns})


def _is_by_row(prediction: Any) -> bool:
    if not isinstance(prediction, Mapping):
        return True
    shapes = [np.shape(column) for column in prediction.values()]
    return all(shapes) and len({shape[0] for shape in shapes if shape}) == 1


def _to_rows(prediction: Any) -> list[Any]:
    if not isinstance(prediction, Mapping):
        rows = to_json(prediction)
        if isinstance(rows, list):
            return rows
        return [rows]
    if not _is_by_row(prediction):
        message = f"the outputs {', '.join(prediction)} have no common rows"
        raise RequestError(406, f'{message}: accept {media_types.JSON}, send {{"inputs": ...}}')
    columns = [to_json(column) for column in prediction.values()]
    return [dict(zip(prediction, row, strict=True)) for row in zip(*columns, strict=True)]


def to_json(value: Any) -> Any:
    """Return an array as nested lists that JSON can hold.

    Raises: RequestError 406 for complex numbers.
    """
    array = np.asarray(value)
    if array.dtype.kind == "c":
        message = f"the output is {array.dtype}, which no text holds: accept {media_types.NPY}"
        raise RequestError(406, message)
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        objects = array.astype(object)
        objects[~np.isfinite(array)] = None
        return objects.tolist()
    if array.dtype.kind in "OS":
        return _to_values(array.tolist())
    return array.tolist()


def _to_values(value: Any) -> Any:
    if isinstance(value, list):
        return [_to_values(item) for item in value]
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return {"b64": base64.b64encode(value).decode()}
    if isinstance(value, (np.ndarray, np.generic, float)):
        return to_json(value)
    return value


def _encode_npy(rows: NDArray[Any]) -> bytes:
    if rows.dtype == object:
        rows = rows.astype(str)
    stream = io.BytesIO()
    np.save(stream, rows, allow_pickle=False)
    return stream.getvalue()


def _encode_csv(rows: NDArray[Any]) -> str:
    if rows.dtype.kind in "iufb":
        return "\n".join(",".join(map(str, row)) for row in rows)
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows(to_json(rows))
    return stream.getvalue().removesuffix("\n")
