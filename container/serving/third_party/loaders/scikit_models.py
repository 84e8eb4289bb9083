"""Models of scikit-learn, saved by skops, joblib or pickle.

The answer is that of `predict`. A model that was fitted on a DataFrame takes its columns by name.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np

from container.errors import RequestError, UserError
from container.serving.third_party import signature
from container.serving.third_party.model_files import Choice
from container.serving.third_party.tables import Table


class ScikitModel:
    """An estimator, or anything else with a method `predict`."""

    def __init__(self, path: Path, estimator: Any) -> None:
        if not callable(getattr(estimator, "predict", None)):
            found = type(estimator).__name__
            message = f"{path} holds a {found}, which has no method predict; add code/inference.py"
            raise UserError(message)
        self._estimator = estimator
        names = getattr(estimator, "feature_names_in_", ())
        self._is_named = len(names) > 0
        # A vectorizer of text has no number of columns: its rows are strings.
        count = getattr(estimator, "n_features_in_", None)
        self._table: Table | None = None
        self.signature: signature.Signature = Table(1, text=[0])
        if count is not None:
            self.signature = self._table = Table(count, list(names), inferred=True)

    def predict(self, data: Any) -> Any:
        """Predict rows."""
        try:
            return np.asarray(self._estimator.predict(self._convert(data)))
        except (ValueError, TypeError) as error:
            reason = str(error).strip().partition("\n")[0]
            raise RequestError(400, f"the model refuses these rows: {reason}") from error

    def _convert(self, data: Any) -> Any:
        if self._table is None:
            return signature.to_array(data).ravel()
        if self._is_named:
            return self._table.to_frame(data)
        columns = self._table.to_columns(data)
        if all(column.dtype.kind in "iufb" for column in columns):
            return np.column_stack(columns)
        rows = np.empty((len(columns[0]), len(columns)), object)
        for place, column in enumerate(columns):
            rows[:, place] = column.tolist()
        return rows


class SkopsModel(ScikitModel):
    """A model that skops has saved, which loads no types but those that skops trusts."""

    def __init__(self, path: Path, _: Choice) -> None:
        io: Any = importlib.import_module("skops.io")
        try:
            estimator = io.load(path)
        except (TypeError, io.exceptions.UntrustedTypesFoundException) as error:
            message = (
                f"{path} holds types that skops does not trust: {error}; serve it by "
                "code/inference.py, whose model_fn calls skops.io.load with trusted=[...]"
            )
            raise UserError(message) from error
        super().__init__(path, estimator)


class PickledModel(ScikitModel):
    """A pickle, by joblib, which reads those of the standard library as well."""

    def __init__(self, path: Path, _: Choice) -> None:
        joblib: Any = importlib.import_module("joblib")
        try:
            estimator = joblib.load(path)
        except AttributeError as error:
            message = (
                f"{path} cannot be loaded: {error}; it was pickled by a program that defined this "
                "itself: move it into a module in code/ and save the model again, or add "
                "code/inference.py"
            )
            raise UserError(message) from error
        super().__init__(path, estimator)
