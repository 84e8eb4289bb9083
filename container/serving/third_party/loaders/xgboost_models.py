"""XGBoost's boosters in JSON or UBJSON.

The answer is that of `Booster.predict`, for classifiers probabilities, as in SageMaker's own
XGBoost container. A missing value is NaN.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from container import machine
from container.serving.third_party.model_files import Choice
from container.serving.third_party.tables import Table


class XgboostModel:
    """A booster, whose `predict` is thread-safe."""

    def __init__(self, path: Path, _: Choice) -> None:
        self._xgboost: Any = importlib.import_module("xgboost")
        self._booster = self._xgboost.Booster({"nthread": machine.count_threads()})
        self._booster.load_model(path)
        self._names = self._booster.feature_names
        self._types = self._booster.feature_types
        self.signature = Table(self._booster.num_features(), self._names or ())

    def predict(self, data: Any) -> Any:
        """Predict rows."""
        matrix = self._xgboost.DMatrix(
            self.signature.to_matrix(data),
            feature_names=self._names,
            feature_types=self._types,
            enable_categorical=True,
        )
        return self._booster.predict(matrix)
