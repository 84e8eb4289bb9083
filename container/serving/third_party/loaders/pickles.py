"""Pickles, by joblib, which reads those of the standard library, and compressed ones, as well."""

import importlib
from pathlib import Path
from typing import Any

from container.errors import UserError
from container.serving.third_party.loaders.boosters import (
    catboost_models,
    lightgbm_models,
    xgboost_models,
)
from container.serving.third_party.loaders.pytorch import weights
from container.serving.third_party.loaders.scikit_models import ScikitModel
from container.serving.third_party.model_files import Choice
from container.serving.third_party.signature import Model


def load(path: Path, _: Choice) -> Model:
    """Unpickle a model; a booster or module is served as if its own method had saved it.

    Raises: UserError if its class is missing, or it has no method predict.
    """
    joblib: Any = importlib.import_module("joblib")
    try:
        found = joblib.load(path)
    except AttributeError as error:
        raise UserError(
            f"{path} cannot be loaded: {error}; it was pickled by a program that defined this "
            "itself: move it into a module in code/ and save the model again, or add "
            "code/inference.py"
        ) from error
    return wrap(path, found) or ScikitModel(path, found)


def wrap(path: Path, found: Any) -> Model | None:
    """Return a model around an object that has no method predict of scikit-learn's kind."""
    kinds = {f"{base.__module__.partition('.')[0]}.{base.__name__}" for base in type(found).__mro__}
    if "xgboost.Booster" in kinds:
        return xgboost_models.XgboostModel(found)
    if "lightgbm.Booster" in kinds:
        return lightgbm_models.LightgbmModel(path, found)
    if "catboost.CatBoost" in kinds:
        return catboost_models.CatboostModel(path, found)
    if "torch.Module" in kinds:
        return weights.WeightsModel(found, path.parent)
    return None
