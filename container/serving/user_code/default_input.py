"""What a handler without `input_fn` gets for each body; docs/serving.md has the table.

Bodies of the toolkit's types give what the toolkit's decoder gives, and the others what comes
nearest. A handler that annotates the data of its `predict_fn` as `pandas.DataFrame` gets one.
"""

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from container.errors import RequestError
from container.serving.bodies import media_types, negotiation, pictures
from container.serving.bodies.content_encoding import Expansion
from container.serving.records import columnar, counts, csv_rules, json_values, libsvm, multipart
from container.serving.records.table import Table
from container.serving.third_party import bounds, predict_requests
from container.serving.user_code import inference_toolkit

_FRAME_NAMES: Final = frozenset({"DataFrame", "pd.DataFrame", "pandas.DataFrame"})


class Decoded(NamedTuple):
    """A body as a handler takes it."""

    data: Any
    form: str = ""
    """`instances` or `inputs`: how the answer in JSON is to be laid out."""


@dataclass(frozen=True)
class Taker:
    """What is known of a handler and its model."""

    wants_frame: bool = False
    columns: int | None = None
    """Of the model, if it says how many it has."""
    names: tuple[str, ...] = ()
    """Of these columns, if they have names."""


def describe_taker(predict: Callable[..., Any] | None, model: Any) -> Taker:
    """Look at the annotation of `predict_fn`, and at what scikit-learn's models say of columns."""
    columns = getattr(model, "n_features_in_", None)
    names = getattr(model, "feature_names_in_", ())
    return Taker(
        wants_frame=predict is not None and _wants_frame(predict),
        columns=columns if isinstance(columns, int) else None,
        names=tuple(map(str, names)),
    )


def _wants_frame(predict: Callable[..., Any]) -> bool:
    parameters = list(inspect.signature(predict).parameters.values())
    annotation = parameters[0].annotation if parameters else None
    if isinstance(annotation, type):
        return annotation.__name__ == "DataFrame" and annotation.__module__.startswith("pandas")
    return isinstance(annotation, str) and annotation.strip("\"'") in _FRAME_NAMES


def decode(data: bytes | str, content_type: str, taker: Taker) -> Decoded:
    """Decode a body; `data` is text where the server has decoded its charset.

    Raises: RequestError 415 for a media type without a decoder, 413 if the body expands too far,
    400 for any other fault of the body.
    """
    name, parameters = negotiation.parse_media_type(content_type)
    name = media_types.unify(name)
    if not data and name in _TABLES | _OTHERS.keys():
        raise RequestError(400, f"the body is empty; {name} is expected")
    if taker.wants_frame:
        return Decoded(_decode_frame(data, name, parameters, taker))
    if name == media_types.JSON:
        return _decode_json(_to_text(data, parameters))
    if name in _TABLES or (name == media_types.CSV and "header" in parameters):
        return Decoded(_to_table(data, name, parameters, taker).to_array())
    if name in _OTHERS:
        return Decoded(_OTHERS[name](data, parameters, taker))
    if name == media_types.CSV:
        data = _to_text(data, parameters)
    return Decoded(inference_toolkit.decode(data, name or None))


def _to_text(data: bytes | str, parameters: Mapping[str, str]) -> str:
    if isinstance(data, str):
        return data
    return bounds.decode_text(data, parameters)


def _make_expansion() -> Expansion:
    return Expansion(bounds.count_payload_bytes())


# JSON


def _decode_json(body: str) -> Decoded:
    if '"b64"' not in body and '"instances"' not in body and '"inputs"' not in body:
        return Decoded(inference_toolkit.decode(body, media_types.JSON))
    document = _load(body)
    form = json_values.find_form(document)
    if form:
        document = document[form]
    if form == "inputs" and isinstance(document, dict):
        return Decoded({name: _to_batch(column) for name, column in document.items()}, form)
    return Decoded(_to_batch(document), form)


def _load(body: str) -> Any:
    try:
        return bounds.load_json(body, json_values.take_bytes)
    except (ValueError, RecursionError) as error:
        raise RequestError(400, f"the body is not application/json: {error}") from error


def _to_batch(rows: Any) -> Any:
    """Return rows as an array, with the pictures among them decoded."""
    if isinstance(rows, bytes):
        rows = [rows]
    if isinstance(rows, list) and rows:
        values = [_unwrap(row) for row in rows]
        if all(isinstance(value, bytes) for value in values):
            return _decode_pictures(values)
    try:
        return np.array(rows)
    except (ValueError, TypeError, OverflowError) as error:
        raise RequestError(400, f"the instances must have one shape: {error}") from error


def _unwrap(row: Any) -> Any:
    """Return the only value of `{"image_bytes": {"b64": ...}}`, as clients name them."""
    if isinstance(row, dict) and len(row) == 1:
        return next(iter(row.values()))
    return row


def _decode_pictures(values: list[bytes]) -> Any:
    if not all(media_types.name_picture(value) for value in values):
        return values
    counts.check_parts(len(values), "pictures")
    expansion = _make_expansion()
    return _stack([_decode_picture(value, expansion)[np.newaxis] for value in values])


def _decode_json_lines(data: bytes | str, parameters: Mapping[str, str], _: Taker) -> Any:
    rows = predict_requests.parse_lines(_to_text(data, parameters))
    return _to_batch(rows)


# Pictures, and bodies of several parts


def _decode_picture(content: bytes, expansion: Expansion) -> NDArray[np.uint8]:
    """Return `[height, width, channel] uint8`: 1 channel if it is gray, 4 if it has an alpha."""
    batch = pictures.decode_any(
        content, (None, None, None), bytes_maximum=expansion.room, charge=expansion.take
    )
    pixels: NDArray[np.uint8] = batch[0]
    return pixels


def _stack(batches: list[Any]) -> Any:
    """Return one array of all rows; a list of batches' rows where their shapes differ."""
    shapes = {np.shape(batch)[1:] for batch in batches}
    if len(shapes) == 1 and all(isinstance(batch, np.ndarray) for batch in batches):
        return np.concatenate(batches)
    return [row for batch in batches for row in batch]


def _decode_multipart(data: Any, parameters: Mapping[str, str], taker: Taker) -> Any:
    """Return the records of all parts, in their order."""
    expansion = _make_expansion()
    batches = []
    for number, part in enumerate(multipart.split(data, parameters), start=1):
        given = negotiation.parse_media_type(part.content_type)
        name = media_types.name_part(given.name, part.file_name, part.content)
        if name == media_types.MULTIPART or not name:
            message = f"part {number} has no media type that is known, or no Content-Type"
            raise RequestError(415, f"{message}; send one, or a file name such as a.png")
        content = bytes(part.content)
        try:
            if name in media_types.PICTURES:
                batches.append(_decode_picture(content, expansion)[np.newaxis])
                continue
            batches.append(np.atleast_1d(_decode_part(content, name, given.parameters, taker)))
            expansion.take(batches[-1].nbytes)
        except RequestError as error:
            raise RequestError(error.status, f"part {number}: {error}") from None
    return _stack(batches)


def _decode_part(content: bytes, name: str, parameters: Mapping[str, str], taker: Taker) -> Any:
    if name == media_types.CSV:
        return _to_table(content, name, parameters, taker).to_array()
    charset = parameters.get("charset", "")
    content_type = f"{name}; charset={charset}" if charset else name
    return decode(content, content_type, Taker(columns=taker.columns)).data


# Tables


def _decode_frame(data: bytes | str, name: str, parameters: Mapping[str, str], taker: Taker) -> Any:
    if name in _TABLES or name == media_types.CSV:
        return _to_table(data, name, parameters, taker).to_frame(taker.names)
    if name == media_types.JSON:
        given = predict_requests.decode(_to_text(data, parameters)).data
    elif name == media_types.JSON_LINES:
        rows = predict_requests.parse_lines(_to_text(data, parameters))
        given = predict_requests.decode_rows(rows)
    elif name == media_types.NPY:
        given = inference_toolkit.decode(data, name)
    else:
        possible = ", ".join(sorted({*_TABLES, media_types.CSV, media_types.JSON}))
        message = f"content type {name[:100]!r} holds no table; this handler takes {possible}"
        raise RequestError(415, message)
    return _make_table(given).to_frame(taker.names)


def _make_table(given: Any) -> Table:
    if isinstance(given, Mapping):
        columns = [_to_column(column) for column in given.values()]
        if len({len(column) for column in columns}) != 1:
            raise RequestError(400, "all columns must have the same number of rows")
        return Table(tuple(columns), tuple(given))
    if given.ndim == 1:
        given = given[np.newaxis]
    if given.ndim != 2 or not given.size:
        message = f"an array of shape {list(given.shape)} was found; rows and columns are expected"
        raise RequestError(400, message)
    return Table(tuple(_to_column(column) for column in given.T))


def _to_column(column: Any) -> NDArray[Any]:
    array = np.asarray(column)
    if array.ndim != 1:
        message = f"a column has the shape {list(array.shape)}; one value a row is expected"
        raise RequestError(400, message)
    if array.dtype != object:
        return array
    values = [math.nan if json_values.is_missing(value) else value for value in array]
    if all(isinstance(value, (bool, int, float)) for value in values):
        return np.array(values, np.float64)
    filled = np.empty(len(values), object)
    filled[:] = values
    return filled


def _to_table(data: bytes | str, name: str, parameters: Mapping[str, str], taker: Taker) -> Table:
    if name == media_types.CSV:
        table = _to_text(data, parameters)
        bounds.check_table(table)
        return csv_rules.decode(table, has_header=csv_rules.read_header_parameter(parameters))
    content = data.encode() if isinstance(data, str) else data
    if name == media_types.LIBSVM:
        charge = _make_expansion().take
        rows = libsvm.decode_table(content, parameters, taker.columns, charge)
        return Table(tuple(rows.T))
    expansion = _make_expansion()
    if name == media_types.PARQUET:
        return columnar.decode_parquet(content, expansion.take)
    return columnar.decode_arrow(content, expansion.take)


_TABLES: Final = frozenset({media_types.LIBSVM, media_types.PARQUET, media_types.ARROW})
_OTHERS: Final[dict[str, Callable[[Any, Mapping[str, str], Taker], Any]]] = {
    media_types.JSON_LINES: _decode_json_lines,
    media_types.MULTIPART: _decode_multipart,
    **dict.fromkeys(media_types.PICTURES, lambda raw, *_: _decode_picture(raw, _make_expansion())),
}
