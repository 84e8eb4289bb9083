"""LightGBM's boosters in text.

The answer is that of `Booster.predict`, for classifiers probabilities. A missing value is NaN, and
so is a category that training has not seen.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from container import machine
from container.serving.third_party.model_files import Choice
from container.serving.third_party.tables import Column, Table


class LightgbmModel:
    """A booster, and the categories of the DataFrame that it was trained on."""

    def __init__(self, path: Path, _: Choice) -> None:
        lightgbm: Any = importlib.import_module("lightgbm")
        self._booster = lightgbm.Booster(model_file=str(path))
        self._threads = machine.count_threads()
        names = self._booster.feature_name()
        is_named = names != [f"Column_{number}" for number in range(len(names))]
        self._categories = self._find_categories(names)
        text = [place for place, known in self._categories.items() if _are_text(known)]
        self.signature = Table(len(names), names * is_named, text=text)

    def _find_categories(self, names: Sequence[str]) -> dict[int, list[Any]]:
        """Return the categories of each column that pandas held as such."""
        categories = self._booster.pandas_categorical or []
        if not categories:
            return {}
        infos = self._booster.dump_model(num_iteration=1)["feature_infos"]
        places = [place for place, name in enumerate(names) if infos.get(name, {}).get("values")]
        return dict(zip(places, categories, strict=True))

    def predict(self, data: Any) -> Any:
        """Predict rows."""
        if not self._categories:
            matrix = self.signature.to_matrix(data)
        else:
            columns = self.signature.to_columns(data)
            for place, known in self._categories.items():
                columns[place] = _encode(columns[place], known)
            matrix = np.column_stack(columns)
        return self._booster.predict(matrix, num_threads=self._threads)


def _are_text(categories: Sequence[Any]) -> bool:
    return any(isinstance(category, str) for category in categories)


def _encode(column: Column, categories: Sequence[Any]) -> NDArray[np.float64]:
    """Return the place of each value among the categories."""
    places = {category: place for place, category in enumerate(categories)}
    return np.array([places.get(value, np.nan) for value in column.tolist()], np.float64)
