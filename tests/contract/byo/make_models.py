"""Fixture program: trains a tiny model of each kind and packs it as its library saves it.

`make_models.py DIRECTORY`: each kind gets a folder with `model`, and with `case.json`: requests,
what the library itself predicts for them, and requests that must be refused with which words.
"""

import json
import sys
import warnings
from pathlib import Path
from typing import Any

import catboost
import joblib
import lightgbm
import mlflow
import numpy as np
import pandas as pd
import safetensors.torch
import skops.io
import torch
import xgboost
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

warnings.simplefilter("ignore")
root = Path(sys.argv[1])
JSON, CSV, LINES = "application/json", "text/csv", "application/jsonlines"

rng = np.random.default_rng(0)
table = pd.DataFrame({"age": rng.uniform(18, 80, 60), "city": rng.choice(["a", "b"], 60)})
table["income"] = rng.uniform(1, 9, 60)
target = ((table["age"] > 50) ^ (table["city"] == "a")).astype(int)
numbers = table[["age", "income"]]


def start(name: str) -> Path:
    (root / name / "model").mkdir(parents=True)
    return root / name / "model"


def finish(name: str, good: list[Any], bad: list[Any], **environ: str) -> None:
    case = {"good": good, "bad": bad, "environ": environ}
    (root / name / "case.json").write_text(json.dumps(case))


def ask_rows(frame: pd.DataFrame, expected: Any) -> list[Any]:
    """Return the same rows in every form that a table has."""
    expected = np.asarray(expected).tolist()
    rows = frame.to_numpy().tolist()
    records = json.loads(frame.to_json(orient="records"))
    turned = frame[frame.columns[::-1]]
    split = json.loads(turned.to_json(orient="split"))
    lines = "\n".join(map(json.dumps, records))
    return [
        (JSON, json.dumps({"instances": rows}), expected),
        (JSON, json.dumps({"instances": records}), expected),
        (JSON, json.dumps({"dataframe_records": records}), expected),
        (JSON, json.dumps({"dataframe_split": split}), expected),
        (LINES, lines, expected),
        (CSV, turned.to_csv(index=False), expected),
        (CSV, frame.to_csv(index=False, header=False), expected),
    ]


def refuse_rows(frame: pd.DataFrame) -> list[Any]:
    """Return rows with a column too few, too many, and of the wrong type."""
    first = json.loads(frame.head(1).to_json(orient="records"))[0]
    few = {name: value for name, value in first.items() if name != "age"}
    wide = [*frame.head(1).to_numpy().tolist()[0], 1.0]
    return [
        (JSON, json.dumps([few]), "the column 'age' is missing"),
        (JSON, json.dumps([first | {"id": 1}]), "the model has no column 'id'"),
        (JSON, json.dumps([first | {"age": "old"}]), "the column 'age' holds 'old' in row 1"),
        (JSON, json.dumps([wide]), f"['n', {len(first)}] is expected"),
        (CSV, frame.head(1).rename(columns={"age": "years"}).to_csv(index=False), "'years'"),
    ]


# XGBoost

model = start("xgboost")
booster = xgboost.train({"objective": "binary:logistic"}, xgboost.DMatrix(numbers, target), 5)
booster.save_model(model / "model.json")
holes = numbers.head(4).copy()
holes.iloc[1, 0] = np.nan
good = ask_rows(numbers.head(3), booster.predict(xgboost.DMatrix(numbers.head(3))))
good += ask_rows(holes, booster.predict(xgboost.DMatrix(holes)))[1:]
finish("xgboost", good, refuse_rows(numbers))

model = start("xgboost-ubj")
data = numbers.to_numpy()
booster = xgboost.train(
    {"objective": "multi:softprob", "num_class": 2}, xgboost.DMatrix(data, target), 3
)
booster.save_model(model / "clf.ubj")
rows = data[:2].tolist()
finish(
    "xgboost-ubj",
    [(JSON, json.dumps(rows), booster.predict(xgboost.DMatrix(data[:2])).tolist())],
    [
        (JSON, json.dumps([{"age": 1, "income": 2}]), "columns have no names"),
        (CSV, "age,income\n1,2\n", "without a header"),
        (CSV, "1,x\n", "column 2 holds 'x'"),
    ],
)

# LightGBM and CatBoost, with a column of categories

model = start("lightgbm")
categorical = table.astype({"city": "category"})
booster = lightgbm.train(
    {"objective": "binary", "verbose": -1, "min_data_in_leaf": 3, "min_data_per_group": 3},
    lightgbm.Dataset(categorical, target),
    5,
)
booster.save_model(model / "model.txt")
(model / "labels.txt").write_text("no\nyes\n")
finish(
    "lightgbm", ask_rows(table.head(4), booster.predict(categorical.head(4))), refuse_rows(table)
)

model = start("catboost")
classifier = catboost.CatBoostClassifier(
    iterations=5, verbose=0, allow_writing_files=False, cat_features=["city"]
)
labels = target.map({0: "no", 1: "yes"})
classifier.fit(table, labels)
classifier.save_model(model / "model.cbm")
finish("catboost", ask_rows(table.head(4), classifier.predict(table.head(4))), refuse_rows(table))

# scikit-learn

model = start("skops")
pipeline = make_pipeline(StandardScaler(), LinearRegression()).fit(numbers, target)
skops.io.dump(pipeline, model / "model.skops")
finish(
    "skops", ask_rows(numbers.head(3), pipeline.predict(numbers.head(3))), refuse_rows(numbers)[:2]
)

model = start("joblib")
encoder = make_column_transformer((OneHotEncoder(), ["city"]), remainder="passthrough")
pipeline = make_pipeline(encoder, LogisticRegression()).fit(table, labels)
joblib.dump(pipeline, model / "pipeline.joblib")
finish(
    "joblib",
    ask_rows(table.head(3), pipeline.predict(table.head(3))),
    [
        *refuse_rows(table)[:2],
        (JSON, '[{"age": "old", "city": "a", "income": 1}]', "the model refuses these rows: "),
        (JSON, '[{"age": 1, "city": "zzz", "income": 1}]', "Found unknown categories"),
    ],
    BYO_ALLOW_PICKLE="true",
)

# MLflow

model = start("mlflow")
regression = make_pipeline(StandardScaler(), LinearRegression()).fit(numbers, target)
mlflow.sklearn.save_model(
    regression,
    model / "run",
    signature=mlflow.models.infer_signature(numbers, regression.predict(numbers)),
    serialization_format="cloudpickle",
    pip_requirements=[],
)
finish(
    "mlflow",
    ask_rows(numbers.head(3), regression.predict(numbers.head(3))),
    refuse_rows(numbers),
    BYO_ALLOW_PICKLE="true",
)

# PyTorch


class Net(torch.nn.Module):
    """Two inputs, two outputs by name."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(4, 3)

    def forward(self, x: torch.Tensor, factor: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return scores, and which is the best."""
        scores = self.linear(x) * factor
        return {"scores": scores, "best": scores.argmax(1)}


torch.manual_seed(0)
inputs = torch.arange(8, dtype=torch.float32).reshape(2, 4)
factor = torch.tensor([[2], [3]])
model = start("torch.export")
net = Net().eval()
batch = {0: torch.export.Dim("batch")}
program = torch.export.export(net, (inputs, factor), dynamic_shapes=(batch, batch))
torch.export.save(program, model / "model.pt2")
outputs = net(inputs, factor)
columns = {name: output.tolist() for name, output in outputs.items()}
given = {"x": inputs.tolist(), "factor": factor.tolist()}
by_row = [dict(zip(given, row, strict=True)) for row in zip(*given.values(), strict=True)]
finish(
    "torch.export",
    [
        (JSON, json.dumps({"inputs": given}), columns),
        (
            JSON,
            json.dumps(by_row),
            [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)],
        ),
    ],
    [
        (JSON, json.dumps(inputs.tolist()), "the model has 2 inputs"),
        (JSON, json.dumps({"inputs": given | {"y": 1}}), "the model has no input 'y'"),
        (JSON, json.dumps({"inputs": given | {"x": [[1, 2, 3]]}}), "the input 'x' has the shape"),
        (JSON, json.dumps({"inputs": given | {"factor": [[0.5]]}}), "must be int64"),
        (JSON, json.dumps({"inputs": given | {"x": [["a"] * 4]}}), "'a' was found"),
    ],
)

model = start("torchscript")
linear = torch.nn.Linear(4, 3)
torch.jit.script(linear).save(model / "model.pt")
expected = linear(inputs).tolist()
finish(
    "torchscript",
    [
        (JSON, json.dumps(inputs.tolist()), expected),
        (JSON, json.dumps(inputs.int().tolist()), expected),
        (CSV, "0,1,2,3\n4,5,6,7\n", expected),
    ],
    [
        (JSON, "[[1, 2, 3]]", "the model refuses the input: RuntimeError: mat1 and mat2 shapes"),
        (JSON, '[["a", 2, 3, 4]]', "must be numbers"),
        (JSON, '[{"y": [1, 2, 3, 4]}]', "the input 'input' is missing"),
    ],
)

model = start("torchscript-indices")
embedding = torch.nn.Embedding(8, 2)
torch.jit.script(embedding).save(model / "model.pt")
finish(
    "torchscript-indices",
    [(JSON, "[[1, 2], [7, 0]]", embedding(torch.tensor([[1, 2], [7, 0]])).tolist())],
    [(JSON, "[[1, 8]]", "index out of range")],
)

manifest = {
    "module": "torch.nn:Linear",
    "arguments": {"in_features": 4, "out_features": 3},
    "inputs": [{"name": "x", "dtype": "float32", "shape": [None, 4]}],
}
refused = [
    (JSON, "[[1, 2, 3]]", "the input 'x' has the shape [1, 3]; ['n', 4] is expected"),
    (JSON, '[["a", 2, 3, 4]]', "must be a number (float32); 'a' was found"),
    (JSON, '[{"y": [1, 2, 3, 4]}]', "the input 'x' is missing"),
]
model = start("safetensors")
safetensors.torch.save_file(linear.state_dict(), model / "model.safetensors")
(model / "module.json").write_text(json.dumps(manifest))
finish("safetensors", [(JSON, json.dumps(inputs.tolist()), expected)], refused)

model = start("weights")
(model / "code").mkdir()
(model / "code/nets.py").write_text("import torch\nclass Net(torch.nn.Linear): ...\n")
torch.save(linear.state_dict(), model / "weights.pth")
(model / "module.json").write_text(json.dumps(manifest | {"module": "nets:Net"}))
finish("weights", [(CSV, "0,1,2,3\n4,5,6,7\n", expected)], refused)
