"""Pickles, by joblib, which reads those of the standard library, and compressed ones, as well."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from container.errors import UserError
from container.serving.third_party.loaders.boosters import lightgbm_models, xgboost_models
from container.serving.third_party.loaders.scikit_models import ScikitModel
from container.serving.third_party.model_files import Choice
from container.serving.third_party.signature import Model


def load(path: Path, _: Choice) -> Model:
    """Unpickle a model; a booster is served as one that was saved by its own method.

    Raises: UserError if its class is missing, or it has no method predict.
    """
    joblib: Any = importlib.import_module("joblib")
    try:
        found = joblib.load(path)
    except AttributeError as error:
        message = (
            f"{path} cannot be loaded: {error}; it was pickled by a program that defined this "
            "itself: move it into a module in code/ and save the model again, or add "
            "code/inference.py"
        )
        raise UserError(message) from error
    kind = f"{type(found).__module__.partition('.')[0]}.{type(found).__name__}"
    if kind == "xgboost.Booster":
        return xgboost_models.XgboostModel(found)
    if kind == "lightgbm.Booster":
        return lightgbm_models.LightgbmModel(path, found)
    return ScikitModel(path, found)
