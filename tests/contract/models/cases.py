"""Requests to a model, and what must come back: answers of its library, or words of a refusal."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

JSON, CSV, LINES = "application/json", "text/csv", "application/jsonlines"
NPY = "application/x-npy"


@dataclass(frozen=True)
class Ask:
    """A request, with the answer or the words that a refusal must have."""

    content_type: str
    body: bytes
    answer: Any = None
    refusal: str = ""


@dataclass(frozen=True)
class Case:
    """What is asked of a model that lies in a directory."""

    asks: Sequence[Ask]
    environ: Mapping[str, str] = field(default_factory=dict)


def good(content_type: str, body: Any, answer: Any) -> Ask:
    """Return a request with its answer; a body that is no text is encoded as its type says."""
    return Ask(content_type, encode(body), answer=to_lists(answer))


def bad(content_type: str, body: Any, words: str) -> Ask:
    return Ask(content_type, encode(body), refusal=words)


def encode(body: Any) -> bytes:
    if isinstance(body, np.ndarray):
        stream = io.BytesIO()
        np.save(stream, body)
        return stream.getvalue()
    text = body if isinstance(body, str) else json.dumps(body)
    return text.encode()


def to_lists(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: to_lists(item) for name, item in value.items()}
    return np.asarray(value).tolist()


# Tables


def ask_rows(frame: Any, expected: Any) -> list[Ask]:
    """Return the same rows in every form that a table has, and the first by itself."""
    records = json.loads(frame.to_json(orient="records", double_precision=15))
    turned = frame[frame.columns[::-1]]
    split = json.loads(turned.to_json(orient="split", double_precision=15))
    columns = {name: [record[name] for record in records] for name in records[0]}
    rows = [list(record.values()) for record in records]
    return [
        good(JSON, {"instances": rows}, expected),
        good(JSON, {"instances": records}, expected),
        good(JSON, {"dataframe_records": records}, expected),
        good(JSON, {"dataframe_split": split}, expected),
        good(JSON, {"inputs": columns}, expected),
        good(LINES, "\n".join(map(json.dumps, records)), expected),
        good(CSV, turned.to_csv(index=False), expected),
        good(CSV, frame.to_csv(index=False, header=False), expected),
        good(JSON, rows[:1], np.asarray(expected)[:1]),
    ]


def refuse_rows(frame: Any, number: str) -> list[Ask]:
    """Return rows that no table of these columns takes; the column `number` is numbers."""
    first = json.loads(frame.head(1).to_json(orient="records"))[0]
    few = {name: value for name, value in first.items() if name != number}
    count = len(first)
    renamed = frame.head(1).rename(columns={number: "years"})
    return [
        bad(JSON, [few], f"the column {number!r} is missing"),
        bad(JSON, [first | {"id": 1}], "the model has no column 'id'"),
        bad(JSON, [first | {number: "old"}], f"the column {number!r}"),
        bad(JSON, [[*first.values(), 1.0]], f"['n', {count}] is expected"),
        bad(JSON, [list(first.values())[1:]], f"['n', {count}] is expected"),
        bad(CSV, renamed.to_csv(index=False), "'years'"),
        bad(JSON, [], "holds no instance"),
        bad(JSON, {"dataframe_split": {"columns": [*first], "data": []}}, "holds no instance"),
        bad(CSV, frame.head(0).to_csv(index=False), "a header and no row"),
        bad(NPY, np.zeros((0, count)), f"the shape [0, {count}]"),
    ]


# Tensors


def ask_tensor(name: str, batch: NDArray[Any], expected: Any) -> list[Ask]:
    """Return a batch of the only input in every form, and the first instance by itself."""
    rows = batch.tolist()
    expected = np.asarray(expected)
    asks = [
        good(JSON, {"instances": rows}, expected),
        good(JSON, {"inputs": rows}, expected),
        good(JSON, {"inputs": {name: rows}}, expected),
        good(JSON, [{name: row} for row in rows], expected),
        good(JSON, rows[:1], expected[:1]),
        good(LINES, "\n".join(map(json.dumps, rows)), expected),
        good(NPY, batch, expected),
    ]
    if batch.ndim == 2:
        text = "\n".join(",".join(map(str, row)) for row in rows)
        asks.append(good(CSV, text, expected))
    return asks


def refuse_tensor(name: str, row: list[float], dtype: str = "float32") -> list[Ask]:
    """Return what an input whose instance is like `row` does not take."""
    width = len(row)
    asks = [
        bad(JSON, [row[1:]], f"the input {name!r} has the shape [1, {width - 1}]"),
        bad(NPY, np.zeros((1, width + 1), np.float32), f"['n', {width}] is expected"),
        bad(JSON, [["a", *row[1:]]], f"the input {name!r} must be a number ({dtype}); 'a'"),
        bad(JSON, [[None, *row[1:]]], f"the input {name!r} must be a number ({dtype}); null"),
        bad(JSON, [{"zz": row}], f"the input {name!r} is missing; the model has no input 'zz'"),
        bad(JSON, {"inputs": {name: [row], "zz": 1}}, "the model has no input 'zz'"),
        bad(JSON, {"instances": []}, "holds no instance"),
        bad(NPY, np.zeros((0, width), dtype), f"the input {name!r} has the shape [0, {width}]"),
        bad(CSV, "," * (width - 1), "row 1, column 1 is ''"),
    ]
    if dtype.startswith("float"):
        asks.append(bad(JSON, [[1e300, *row[1:]]], "a number is too large"))
    else:
        asks.append(bad(JSON, [[0.5, *row[1:]]], f"the input {name!r} must be {dtype}"))
    return asks
