"""Models of scikit-learn, and others with a method `predict`.

The answer is that of `predict`. A model that was fitted on a DataFrame takes its columns by name.
"""

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np

from container.errors import RequestError, UserError
from container.serving.third_party import signature
from container.serving.third_party.loaders import scikit_columns
from container.serving.third_party.loaders.boosters import (
    categories,
    lightgbm_models,
    xgboost_models,
)
from container.serving.third_party.model_files import PICKLE_VARIABLE, Choice
from container.serving.third_party.signature import TEXT, Tensor, Tensors
from container.serving.third_party.tables import Column, Table

_OF_BOOSTERS: Final = ("xgboost.", "lightgbm.")


class ScikitModel:
    """An estimator, or anything else with a method `predict`."""

    def __init__(
        self, path: Path, estimator: Any, predict: Callable[[Any], Any] | None = None
    ) -> None:
        """`predict` is in place of the estimator's method, if something wraps it."""
        found = type(estimator)
        if not callable(getattr(estimator, "predict", None)):
            name = found.__name__
            message = f"{path} holds a {name}, which has no method predict; add code/inference.py"
            raise UserError(message)
        self._predict = predict or estimator.predict
        names = [str(name) for name in getattr(estimator, "feature_names_in_", ())]
        count = getattr(estimator, "n_features_in_", None)
        self._missing: dict[int, Any] = {}
        self._categories: categories.Categories = {}
        self.signature: Table | Tensors
        if count is not None:
            self._missing = scikit_columns.find_text(estimator, count, names)
            self._categories = _find_categories(path, estimator, names)
            text = {*self._missing, *categories.list_text(self._categories)}
            self.signature = Table(count, names, text=text, inferred=True)
        elif found.__module__.startswith("sklearn."):
            # A vectorizer of text has no number of columns: its rows are strings.
            self.signature = Tensors([Tensor("text", TEXT, (None,))])
        elif found.__module__.startswith(_OF_BOOSTERS):
            raise UserError(
                f"{path} holds a {found.__module__}.{found.__name__}, which takes data in a form "
                "of its own; save it by its method save_model, or add code/inference.py"
            )
        else:
            self.signature = Tensors([Tensor("rows", None, None)], takes_missing=True)

    def predict(self, data: Any) -> Any:
        """Predict rows."""
        table = self.signature
        if isinstance(table, Tensors):
            return self._ask(signature.unwrap(table.bind(data)))
        columns = [
            self._replace_missing(table, column, place)
            for place, column in enumerate(table.to_columns(data))
        ]
        try:
            return self._ask(self._join(columns))
        except RequestError as error:
            texts = [
                table.describe(place)
                for place, column in enumerate(columns)
                if column.dtype == TEXT and place not in self._missing
            ]
            if not texts:
                raise
            message = f"{error}; text is in {', '.join(texts[:10])}"
            raise RequestError(error.status, message) from None

    def _ask(self, rows: Any) -> Any:
        try:
            return np.asarray(self._predict(rows))
        except (ValueError, TypeError) as error:
            reason = str(error).strip().partition("\n")[0]
            raise RequestError(400, f"the model refuses these rows: {reason}") from error

    def _replace_missing(self, table: Table, column: Column, place: int) -> Column:
        """Return a column whose missing values are as in training; text where text is needed."""
        is_text = place in self._missing
        if column.dtype != TEXT and not is_text:
            return column
        values = column.tolist()
        for row, value in enumerate(values):
            if value is None or value != value:  # noqa: PLR0124 - only NaN differs from itself
                values[row] = self._missing.get(place, np.nan)
            elif is_text and not isinstance(value, str):
                message = f"{table.describe(place)} holds {signature.shorten(value)}"
                raise RequestError(400, f"{message} in row {row + 1}; it takes text")
        replaced = np.empty(len(values), TEXT)
        replaced[:] = values
        return replaced

    def _join(self, columns: list[Column]) -> Any:
        """Return a DataFrame if the columns have names, otherwise an array."""
        if self.signature.column_names:
            pandas: Any = importlib.import_module("pandas")
            frame = pandas.DataFrame(dict(zip(self.signature.column_names, columns, strict=True)))
            for place, known in self._categories.items():
                column = frame.iloc[:, place]
                # What training has not seen is for the model to judge.
                unseen = column[~column.isin(known)].dropna().unique()
                frame.isetitem(place, pandas.Categorical(column, categories=[*known, *unseen]))
            return frame
        if all(column.dtype.kind in "iufb" for column in columns):
            return np.column_stack(columns)
        rows = np.empty((len(columns[0]), len(columns)), TEXT)
        for place, column in enumerate(columns):
            rows[:, place] = column.tolist()
        return rows


def _find_categories(path: Path, estimator: Any, names: list[str]) -> categories.Categories:
    """Return the categories of the columns that pandas held as such, of a booster's own class."""
    package = type(estimator).__module__.partition(".")[0]
    if package == "lightgbm":
        return lightgbm_models.find_categories(path, estimator.booster_, names)
    if package == "xgboost":
        return xgboost_models.read_categories(estimator.get_booster())
    return {}


class SkopsModel(ScikitModel):
    """A model that skops has saved, which loads only types that skops or the user trusts."""

    def __init__(self, path: Path, choice: Choice) -> None:
        io: Any = importlib.import_module("skops.io")
        untrusted = io.get_untrusted_types(file=path)
        if untrusted and not choice.allow_pickle:
            raise UserError(
                f"{path} holds types that skops does not trust: {', '.join(untrusted[:10])}; set "
                f"{PICKLE_VARIABLE}=true if you trust whoever wrote it, or serve it by "
                "code/inference.py, whose model_fn calls skops.io.load with trusted=[...]"
            )
        super().__init__(path, io.load(path, trusted=untrusted))
