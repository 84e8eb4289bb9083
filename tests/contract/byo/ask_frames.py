"""Fixture program: bodies of a handler that annotates its data as a DataFrame, with real pandas.

Prints for each body the DataFrame that the handler got, or the error.
"""

from __future__ import annotations

import io
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from container.serving.exchange import Request
from container.serving.user_code.application import Application


class Model:
    """A model with names, as scikit-learn's that were fitted on a DataFrame."""

    n_features_in_ = 2
    feature_names_in_ = np.array(["age", "city"], dtype=object)


def predict_fn(data: pd.DataFrame, model: object) -> object:
    """Describe the data."""
    assert isinstance(data, pd.DataFrame)
    missing = data.isna().to_numpy().tolist()
    return [list(data.columns), [str(kind) for kind in data.dtypes], missing]


stream = io.BytesIO()
np.save(stream, np.array([[1.0, 2.0]]))
split = {"dataframe_split": {"columns": ["city", "age"], "data": [["a", None]]}}
BODIES = {
    "header": ("text/csv", b'city,age\n"a, b",1\n,2\n'),
    "no header": ("text/csv", b"1,a\nNA,b\n"),
    "records": ("application/json", b'{"instances": [{"city": "a", "age": 1}]}'),
    "split": ("application/json", json.dumps(split).encode()),
    "rows": ("application/json", b'[[1, "a"]]'),
    "lines": ("application/x-ndjson", b'{"age": 1, "city": "a"}\n{"age": null, "city": "b"}\n'),
    "npy": ("application/x-npy", stream.getvalue()),
    "libsvm": ("text/libsvm", b"1 2:5"),
    "wrong width": ("text/csv", b"1,2,3"),
    "ragged": ("application/json", b"[[1], [1, 2]]"),
    "picture": ("image/png", b"\x89PNG"),
}
functions = {"model_fn": lambda _: Model(), "predict_fn": predict_fn}
application = Application(functions, Path(tempfile.gettempdir()))
answers = {}
for name, (content_type, body) in BODIES.items():
    response = application.invoke(Request(body, {"content-type": content_type}))
    answers[name] = [response.status, json.loads(response.body)]
page = (Path(__file__).parents[3] / "docs/bring-your-own.md").read_text(encoding="utf-8")
code = page.partition("### Tables\n")[2].partition("```python\n")[2].partition("```")[0]
example: dict[str, Any] = {}
exec(code, example)  # noqa: S102 - our own page
functions = {name: example[name] for name in ("model_fn", "predict_fn")}
application = Application(functions, Path(tempfile.gettempdir()))
response = application.invoke(Request(b"price,count\n2.5,2\n1,4\n", {"content-type": "text/csv"}))
answers["example"] = [response.status, json.loads(response.body)]
print(json.dumps(answers))
