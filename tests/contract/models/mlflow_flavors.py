"""Model directories of MLflow, with a signature of columns, of tensors, and without one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import torch
import xgboost
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, Schema, TensorSpec
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tests.contract.models.cases import (
    JSON,
    Case,
    ask_rows,
    ask_tensor,
    bad,
    good,
    refuse_rows,
    refuse_tensor,
)

rng = np.random.default_rng(0)
numbers = pd.DataFrame({"age": rng.uniform(18, 80, 60), "income": rng.uniform(1, 9, 60)})
regression = make_pipeline(StandardScaler(), LinearRegression()).fit(numbers, numbers["age"] > 50)
TRUSTED = {"BYO_ALLOW_PICKLE": "true"}


def make_columns(model: Path) -> Case:
    expected = regression.predict(numbers.head(3))
    mlflow.sklearn.save_model(
        regression,
        model / "run",
        signature=mlflow.models.infer_signature(numbers, expected),
        serialization_format="cloudpickle",
        pip_requirements=[],
    )
    return Case([*ask_rows(numbers.head(3), expected), *refuse_rows(numbers, "age")], TRUSTED)


def make_unsigned(model: Path) -> Case:
    mlflow.sklearn.save_model(
        regression, model / "run", serialization_format="skops", pip_requirements=[]
    )
    expected = regression.predict(numbers.head(3))
    return Case([*ask_rows(numbers.head(3), expected), *refuse_rows(numbers, "age")])


def make_unsigned_booster(model: Path) -> Case:
    matrix = xgboost.DMatrix(numbers, numbers["age"] > 50)
    booster = xgboost.train({"objective": "binary:logistic"}, matrix, 3)
    mlflow.xgboost.save_model(booster, model / "run", pip_requirements=[])
    loaded = mlflow.pyfunc.load_model(str(model / "run"))
    asks = ask_rows(numbers.head(3), loaded.predict(numbers.head(3)))
    return Case([*asks, *refuse_rows(numbers, "age")])


def make_unsigned_module(model: Path) -> Case:
    module = torch.nn.Linear(3, 2).eval()
    mlflow.pytorch.save_model(
        module, model / "run", serialization_format="pickle", pip_requirements=[]
    )
    loaded = mlflow.pyfunc.load_model(str(model / "run"))
    batch = np.arange(6, dtype=np.float32).reshape(2, 3)
    asks = ask_tensor("input", batch, loaded.predict(batch))
    whole = good(JSON, [[0, 1, 2]], loaded.predict(batch[:1]))
    return Case([*asks, whole, bad(JSON, [[1]], "the model refuses the input")], TRUSTED)


class Describe(mlflow.pyfunc.PythonModel):  # type: ignore[misc,name-defined] - untyped
    """Says what it was given."""

    def predict(self, _: Any, model_input: pd.DataFrame) -> list[str]:
        """Return a line for each row."""
        return [" ".join(map(str, row.items())) for row in model_input.to_dict("records")]


def make_types(model: Path) -> Case:
    columns = [
        ColSpec("string", "s"),
        ColSpec("long", "n", required=False),
        ColSpec("boolean", "b"),
        ColSpec("datetime", "d"),
    ]
    signature = ModelSignature(Schema(columns))
    mlflow.pyfunc.save_model(
        model / "run", python_model=Describe(), signature=signature, pip_requirements=[]
    )
    row = {"s": "x", "n": 1, "b": True, "d": "2020-01-31"}
    frame = pd.DataFrame([row]).astype({"d": "datetime64[ns]"})
    few = {name: value for name, value in row.items() if name != "n"}
    loaded = mlflow.pyfunc.load_model(model / "run")
    expected = loaded.predict(frame)
    return Case(
        [
            good(JSON, [row], expected),
            good("text/csv", "s,n,b,d\nx,1,True,2020-01-31\n", expected),
            good(JSON, [few], loaded.predict(frame.drop(columns="n"))),
            bad(JSON, [row | {"s": 5}], "column s"),
            bad(JSON, [row | {"n": 1.5}], "the column 'n' must be int64"),
            bad(JSON, [row | {"b": 2}], "the column 'b' must be bool"),
            bad(JSON, [row | {"d": "never"}], "the column 'd' takes dates"),
            bad(JSON, [few | {"zz": 1}], "the model has no column 'zz'"),
        ],
        TRUSTED,
    )


class Add(mlflow.pyfunc.PythonModel):  # type: ignore[misc,name-defined] - untyped
    """Adds up a row."""

    def predict(self, _: Any, model_input: Any) -> Any:
        """Return `[row]`."""
        return model_input.sum(axis=1)


def make_tensors(model: Path) -> Case:
    signature = ModelSignature(Schema([TensorSpec(np.dtype("float32"), (-1, 3))]))
    mlflow.pyfunc.save_model(
        model / "run", python_model=Add(), signature=signature, pip_requirements=[]
    )
    batch = np.arange(6, dtype=np.float32).reshape(2, 3)
    asks = ask_tensor("inputs", batch, batch.sum(1))
    return Case([*asks, *refuse_tensor("inputs", [1, 2, 3])], TRUSTED)


KINDS = {
    "mlflow": make_columns,
    "mlflow-unsigned": make_unsigned,
    "mlflow-unsigned-booster": make_unsigned_booster,
    "mlflow-unsigned-module": make_unsigned_module,
    "mlflow-types": make_types,
    "mlflow-tensors": make_tensors,
}
