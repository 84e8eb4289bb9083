"""XGBoost's boosters in JSON, UBJSON, or what SageMaker's own container calls `xgboost-model`.

The answer is that of `Booster.predict`, for classifiers probabilities; after early stopping that of
the rounds up to the best one, as `XGBClassifier.predict_proba`. A missing value is NaN. A category
that training has not seen is refused, as XGBoost does.
"""

import importlib
import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from container import machine
from container.errors import RequestError, UserError
from container.serving.third_party import kinds
from container.serving.third_party.loaders.boosters import categories
from container.serving.third_party.model_files import Choice
from container.serving.third_party.tables import Table


class XgboostModel:
    """A booster, whose `predict` is thread-safe."""

    def __init__(self, booster: Any) -> None:
        self._xgboost: Any = importlib.import_module("xgboost")
        self._booster = booster
        self._booster.set_param({"nthread": machine.count_library_threads()})
        self._names = self._booster.feature_names
        self._types = self._booster.feature_types
        self._categories = read_categories(self._booster)
        self._rounds = (0, int(booster.attr("best_iteration") or -1) + 1)  # (0, 0) is all of them
        text = categories.list_text(self._categories)
        self.signature = Table(self._booster.num_features(), self._names or (), text=text)

    def predict(self, data: Any) -> Any:
        """Predict rows."""
        if self._categories:
            rows = categories.encode(self.signature, data, self._categories, takes_unseen=False)
        else:
            rows = self.signature.to_matrix(data)
        self._check_range(rows)
        matrix = self._xgboost.DMatrix(
            rows, feature_names=self._names, feature_types=self._types, enable_categorical=True
        )
        return self._booster.predict(matrix, iteration_range=self._rounds)

    def _check_range(self, rows: NDArray[np.float64]) -> None:
        too_large = np.argwhere(np.abs(rows) > np.finfo(np.float32).max)
        for row, column in too_large[:1]:
            place = self.signature.describe(column)
            message = f"{place} holds {rows[row, column]} in row {row + 1}"
            raise RequestError(400, f"{message}, which float32 cannot hold; send null if missing")


def load(path: Path, _: Choice) -> XgboostModel:
    """Load a booster. Raises: UserError if it is of a format that XGBoost no longer reads."""
    xgboost: Any = importlib.import_module("xgboost")
    booster = xgboost.Booster()
    source: Path | bytearray = path
    if path.suffix not in (".json", ".ubj"):  # by which XGBoost knows the format of a file
        source = bytearray(path.read_bytes())
    try:
        booster.load_model(source)
    except ValueError as error:  # XGBoost fails to decode its own message about an old format, too
        if kinds.read_head(path).startswith(b"{"):
            raise
        raise UserError(
            f"{path} is not a model that XGBoost {xgboost.__version__} reads; if an older version "
            "wrote it, load it there, save it by booster.save_model('model.ubj'), and serve that"
        ) from error
    return XgboostModel(booster)


def read_categories(booster: Any) -> dict[int, list[Any]]:
    """Return the categories of each column that pandas held as such.

    XGBoost before 3.1 does not save them: those models take the places themselves.
    """
    if "c" not in (booster.feature_types or ()):
        return {}
    gradient_booster = json.loads(booster.save_raw("json"))["learner"]["gradient_booster"]
    trees = gradient_booster.get("gbtree", gradient_booster)
    encoded = trees.get("model", {}).get("cats", {}).get("enc", [])
    decoded = {place: _decode(column) for place, column in enumerate(encoded)}
    return {place: known for place, known in decoded.items() if known}


def _decode(column: dict[str, Any]) -> list[Any]:
    """Return numbers as they are, and texts from their bytes, which are signed."""
    values: list[Any] = column["values"]
    if "offsets" not in column:
        return values
    text = np.array(values, np.int8).tobytes()
    offsets = column["offsets"]
    return [text[start:end].decode() for start, end in itertools.pairwise(offsets)]
