"""MLflow's model directories (`MLmodel`), by the flavor `python_function` that MLflow gives each.

MLflow checks columns and types against the model's signature. Without one, the model itself says
what it takes, if it is a booster, a module of PyTorch or an estimator that knows its columns; for
any other, a table goes in as it comes. Most flavors of scikit-learn and PyTorch are pickles, which
need BYO_ALLOW_PICKLE.
"""

import importlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from container.errors import RequestError, UserError
from container.serving.third_party import kinds, signature
from container.serving.third_party.loaders import pickles
from container.serving.third_party.loaders.scikit_models import ScikitModel
from container.serving.third_party.model_files import PICKLE_VARIABLE, Choice
from container.serving.third_party.signature import TEXT, Tensor, Tensors
from container.serving.third_party.tables import Column, Table

_NUMBERS: Final = {
    "boolean": "bool",
    "integer": "int32",
    "long": "int64",
    "float": "float32",
    "double": "float64",
}


def load(path: Path, choice: Choice) -> signature.Model:
    """Load a model directory. Raises: UserError if it holds pickles that are not allowed."""
    _check_pickles(path, choice)
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    pyfunc: Any = importlib.import_module("mlflow.pyfunc")
    importlib.import_module("pandas")
    model = pyfunc.load_model(str(path))
    if model.metadata.get_input_schema() is None:
        return _wrap_unsigned(path, model) or MlflowModel(model)
    return MlflowModel(model)


def _wrap_unsigned(path: Path, model: Any) -> signature.Model | None:
    """Return a model by what the one that MLflow wraps says about itself; None if it does not."""
    exceptions: Any = importlib.import_module("mlflow.exceptions")
    try:
        raw = model.get_raw_model()
    except (AttributeError, NotImplementedError, exceptions.MlflowException):
        return None
    wrapped = pickles.wrap(path, raw)
    if wrapped is None and hasattr(raw, "n_features_in_"):
        return ScikitModel(path, raw, model.predict)
    return wrapped


class MlflowModel:
    """A model of MLflow, called by its flavor `python_function`."""

    def __init__(self, model: Any) -> None:
        self._model = model
        schema = model.metadata.get_input_schema()
        self._types: list[str] = []
        self._table: Table | None = None
        self.signature: signature.Signature = Tensors(
            [Tensor("inputs", None, None)], takes_missing=True
        )
        if schema is None:
            return
        if schema.is_tensor_spec():
            self.signature = Tensors([_describe(spec) for spec in schema.inputs])
            return
        self._types = [spec.type.name for spec in schema.inputs]
        text = [place for place, name in enumerate(self._types) if name not in _NUMBERS]
        optional = [place for place, spec in enumerate(schema.inputs) if not spec.required]
        names = schema.input_names()
        self._table = Table(len(self._types), names, text=text, optional=optional)
        self.signature = self._table

    def predict(self, data: Any) -> Any:
        """Predict rows, or a batch of tensors."""
        exceptions: Any = importlib.import_module("mlflow.exceptions")
        converted = self._convert(data)
        try:
            prediction = self._model.predict(converted)
        except (exceptions.MlflowException, ValueError, TypeError) as error:
            # MLflow puts the rows themselves in front of what is wrong with them.
            reason = str(error).rpartition("Error: ")[2].strip().partition("\n")[0]
            raise RequestError(400, f"the model refuses these rows: {reason}") from error
        return _to_arrays(prediction)

    def _convert(self, data: Any) -> Any:
        pandas: Any = importlib.import_module("pandas")
        if self._table is not None:
            columns = self._table.to_columns(data)
            typed = {}
            for place, (column, kind) in enumerate(zip(columns, self._types, strict=True)):
                if not (self._table.is_optional(place) and all(pandas.isna(column))):
                    name = self._table.column_names[place]
                    typed[name] = _cast(column, kind, name)
            return pandas.DataFrame(typed)
        if isinstance(self.signature, Tensors) and self.signature.tensors[0].dtype is not None:
            return signature.unwrap(self.signature.bind(data))
        if isinstance(data, Mapping):
            return pandas.DataFrame(dict(data))
        return signature.to_array(data)


def _check_pickles(path: Path, choice: Choice) -> None:
    """Refuse pickles. Raises: UserError if there are some, and the user has not allowed them."""
    pickles = sorted(file.name for file in path.rglob("*") if _is_pickle(file))
    if pickles and not choice.allow_pickle:
        raise UserError(
            f"{path} holds {', '.join(pickles[:5])}, pickles, which may run any code when they "
            f"are loaded; set {PICKLE_VARIABLE}=true if you trust whoever wrote the model, or "
            "log it in a format of data, such as ONNX or skops"
        )


def _is_pickle(file: Path) -> bool:
    return file.suffix == ".pth" or kinds.recognize(file) == "pickle"


def _describe(spec: Any) -> Tensor:
    dtype = spec.type
    if dtype.kind in "OUS":
        dtype = TEXT
    return Tensor(spec.name or "inputs", dtype, signature.make_shape(spec.shape))


def _cast(column: Column, kind: str, name: str) -> Column:
    """Return a column in the type of the schema; a fraction for an integer is refused."""
    if kind == "datetime":
        pandas: Any = importlib.import_module("pandas")
        try:
            dates: Column = pandas.to_datetime(column).to_numpy()
        except (ValueError, TypeError) as error:
            reason = str(error).partition("\n")[0]
            raise RequestError(400, f"the column {name!r} takes dates: {reason}") from error
        return dates
    if kind not in _NUMBERS:
        return column
    return signature.cast(column, np.dtype(_NUMBERS[kind]), f"the column {name!r}")


def _to_arrays(prediction: Any) -> Any:
    """Return arrays in place of pandas' objects."""
    if hasattr(prediction, "columns"):
        columns = {str(name): prediction[name].to_numpy() for name in prediction.columns}
        return signature.unwrap(columns)
    if isinstance(prediction, Mapping):
        return {name: np.asarray(value) for name, value in prediction.items()}
    return np.asarray(prediction)
