"""Predict requests in JSON: TensorFlow Serving's forms, and those of tables.

    {"instances": [...]}            rows: each an array, or an object with a value for each name
    {"inputs": ...}                 columns: an array, or an object with an array for each name
    {"dataframe_split": {"columns": [...], "data": [[...], ...]}}
    {"dataframe_records": [{"COLUMN": ..., ...}, ...]}
    [...]                           rows, without a name around them

Beside the first two, `signature_name` chooses a signature. `{"b64": "..."}` in place of a value is
bytes. Columns are answered in columns (`outputs`), everything else in rows (`predictions`).
"""

from typing import Any, Final, NamedTuple

from numpy.typing import NDArray

from container.errors import RequestError
from container.serving.records import json_values
from container.serving.third_party import bounds
from container.serving.third_party.names import check_distinct, check_names
from container.serving.third_party.signature import Arrays, to_array

FORMS: Final = '{"instances": [...]} or {"inputs": ...}'
TABLE_FORMS: Final = '{"dataframe_split": {...}} or {"dataframe_records": [...]}'


class PredictRequest(NamedTuple):
    """What a body asks for."""

    data: Arrays
    by_row: bool = True
    """Whether the answer is in rows."""
    signature_name: str | None = None


def decode(body: str | bytes, *, bare: bool = True) -> PredictRequest:
    """Decode a JSON body; `bare` allows rows without a name around them.

    Raises: RequestError 400 if it has none of the forms.
    """
    document = parse(body)
    if isinstance(document, list) and bare:
        return PredictRequest(decode_rows(document))
    found = f"a {type(document).__name__} was found"
    if isinstance(document, dict):
        json_values.refuse_both_forms(document)
        name = document.get("signature_name")
        if name is not None and not isinstance(name, str):
            raise RequestError(400, "signature_name must be a string")
        if "instances" in document:
            return PredictRequest(decode_rows(document["instances"]), signature_name=name)
        if "inputs" in document:
            columns = _decode_columns(document["inputs"])
            return PredictRequest(columns, by_row=False, signature_name=name)
        if "dataframe_split" in document:
            return PredictRequest(_decode_split(document["dataframe_split"]))
        if "dataframe_records" in document:
            return PredictRequest(decode_rows(document["dataframe_records"]))
        found = f"the object holds {', '.join(map(repr, list(document)[:5])) or 'nothing'}"
    raise RequestError(400, f"a predict request is {FORMS}, of tables also {TABLE_FORMS}; {found}")


def parse(body: str | bytes) -> Any:
    """Parse JSON, with bytes in place of `{"b64": ...}`. Raises: RequestError 400."""
    try:
        if isinstance(body, bytes):
            body = body.decode("utf-8-sig")
        if '"b64"' in body:
            return bounds.load_json(body, json_values.take_bytes)
        return bounds.load_json(body)
    except (ValueError, RecursionError) as error:
        raise RequestError(400, f"the body is not application/json: {error}") from error


def parse_lines(text: str) -> list[Any]:
    """Parse JSON lines, each a row, also as `{"features": row}`.

    Raises: RequestError 400 that names the line.
    """
    bounds.check_lines(text)
    rows = []
    for number, line in enumerate(text.rstrip().split("\n"), start=1):
        if not line.strip():
            raise RequestError(400, f"line {number} is empty; each line is one instance")
        try:
            row = parse(line)
        except RequestError as error:
            raise RequestError(error.status, f"line {number}: {error}") from None
        if isinstance(row, dict) and row.keys() == {"features"}:
            row = row["features"]
        rows.append(row)
    return rows


def decode_rows(rows: Any) -> Arrays:
    """Return the rows as one array, or as one for each name. Raises: RequestError 400."""
    if not isinstance(rows, list):
        raise RequestError(400, f"the instances are a {type(rows).__name__}; an array is expected")
    if not rows:
        raise RequestError(400, "the predict request holds no instance")
    named = sum(isinstance(row, dict) for row in rows)
    if not named:
        return to_array(rows)
    if named < len(rows):
        raise RequestError(400, "the instances must have one shape: some are objects, some are not")
    names = list(rows[0])
    for number, row in enumerate(rows, start=1):
        if row.keys() != rows[0].keys():
            try:
                check_names(row, names, "name")
            except RequestError as error:
                message = f"instance {number} has other names than the first: {error}"
                raise RequestError(400, message) from None
    return {name: to_array([row[name] for row in rows]) for name in names}


def _decode_columns(columns: Any) -> Arrays:
    if isinstance(columns, dict):
        return {name: to_array(column) for name, column in columns.items()}
    return to_array(columns)


def _decode_split(split: Any) -> Arrays:
    columns = rows = None
    if isinstance(split, dict):
        columns = split.get("columns")
        rows = split.get("data")
    if not isinstance(rows, list) or not all(isinstance(row, list) for row in rows):
        message = 'dataframe_split must be {"columns": ["NAME", ...], "data": [[...], ...]}'
        raise RequestError(400, message)
    if not rows:
        raise RequestError(400, "the predict request holds no instance")
    if columns is None:
        return to_array(rows)
    return name_columns(columns, rows)


def name_columns(columns: Any, rows: list[list[Any]], first: int = 1) -> dict[str, NDArray[Any]]:
    """Return the columns of rows by their names; errors count rows from `first`.

    Raises: RequestError 400 for columns without a name, names that occur twice, and rows of other
    lengths.
    """
    if not isinstance(columns, list) or not all(isinstance(name, str) for name in columns):
        raise RequestError(400, "the columns must be an array of names")
    check_distinct(columns)
    for number, row in enumerate(rows, start=first):
        if len(row) != len(columns):
            raise RequestError(400, f"row {number} has {len(row)} values; expected {len(columns)}")
    values = zip(*rows, strict=True)
    return dict(zip(columns, map(to_array, values), strict=True))
