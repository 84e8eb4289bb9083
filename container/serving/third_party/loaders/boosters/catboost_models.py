"""CatBoost's models (`.cbm`).

The answer is that of `predict` of the class that the model was trained as: the labels of a
classifier, the values of a regressor, the scores of a ranker. Columns of categories and of text
take strings, and categories integers as well.
"""

import importlib
from pathlib import Path
from typing import Any

import numpy as np

from container import machine
from container.errors import RequestError, UserError
from container.serving.third_party import signature
from container.serving.third_party.model_files import Choice
from container.serving.third_party.tables import Column, Table


class CatboostModel:
    """A CatBoost model."""

    def __init__(self, path: Path, model: Any) -> None:
        if model.get_embedding_feature_indices():
            raise UserError(f"{path} takes embeddings, which no table holds; add code/inference.py")
        self._model = model
        self._threads = machine.count_library_threads()
        names = model.feature_names_
        is_named = names != [str(number) for number in range(len(names))]
        self._categories = frozenset(model.get_cat_feature_indices())
        text = {*self._categories, *model.get_text_feature_indices()}
        self.signature = Table(len(names), names * is_named, text=text)
        self._is_numeric = not text

    def predict(self, data: Any) -> Any:
        """Predict rows."""
        rows: Any
        if self._is_numeric:
            rows = self.signature.to_matrix(data)
        else:
            columns = self.signature.to_columns(data)
            rows = np.empty((len(columns[0]), len(columns)), object)
            for place, column in enumerate(columns):
                rows[:, place] = self._convert(column, place)
        prediction = np.asarray(self._model.predict(rows, thread_count=self._threads))
        if prediction.ndim == 2 and prediction.shape[1] == 1:  # labels of several classes
            return prediction[:, 0]
        return prediction

    def _convert(self, column: Column, place: int) -> list[Any]:
        """Return what CatBoost takes: integers and strings as categories, strings as text."""
        values: list[Any] = column.tolist()
        if not self.signature.is_text(place):
            return values
        types: tuple[type, ...] = (str,)
        expected = "text"
        if place in self._categories:
            types = (str, int)
            expected = "categories: strings or integers"
        for row, value in enumerate(values, start=1):
            if not isinstance(value, types):
                message = f"{self.signature.describe(place)} holds {signature.shorten(value)}"
                raise RequestError(400, f"{message} in row {row}; it takes {expected}")
        return values


def load(path: Path, _: Choice) -> CatboostModel:
    """Load a model as the class that it was trained as."""
    catboost: Any = importlib.import_module("catboost")
    model = catboost.CatBoost().load_model(str(path))
    loss = str(model.get_all_params().get("loss_function", ""))
    if catboost.core.is_classification_objective(loss):
        model = catboost.CatBoostClassifier().load_model(str(path))
    return CatboostModel(path, model)
