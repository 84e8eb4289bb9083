"""Models of scikit-learn, saved by skops, joblib and pickle."""

from __future__ import annotations

import gzip
import pickle
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import skops.io
from sklearn.compose import make_column_transformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

from tests.contract.models.cases import CSV, JSON, Case, ask_rows, bad, good, refuse_rows

rng = np.random.default_rng(0)
table = pd.DataFrame({"age": rng.uniform(18, 80, 60), "city": rng.choice(["a", "b"], 60)})
table["income"] = rng.uniform(1, 9, 60)
target = ((table["age"] > 50) ^ (table["city"] == "a")).astype(int)
numbers = table[["age", "income"]]
TRUSTED = {"BYO_ALLOW_PICKLE": "true"}


def make_skops(model: Path) -> Case:
    pipeline = make_pipeline(StandardScaler(), LinearRegression())
    pipeline.fit(numbers, np.column_stack([target, target]))
    skops.io.dump(pipeline, model / "model.skops")
    asks = ask_rows(numbers.head(3), pipeline.predict(numbers.head(3)))
    missing = bad(JSON, [[None, 1]], "Input X contains NaN")
    return Case([*asks, *refuse_rows(numbers, "age"), missing])


def make_skops_trees(model: Path) -> Case:
    """Save what skops loads only from those whom the user trusts."""
    forest = RandomForestClassifier(3, random_state=0).fit(numbers, target)
    skops.io.dump(forest, model / "model.skops")
    asks = ask_rows(numbers.head(3), forest.predict(numbers.head(3)))
    return Case([*asks, *refuse_rows(numbers, "age")], TRUSTED)


def make_joblib(model: Path) -> Case:
    """Save a pipeline for text that looks like numbers, booleans and gaps."""
    frame = table.assign(member=table["age"] > 50, zip=rng.choice(["01", "2"], 60))
    frame.loc[::7, "city"] = np.nan
    frame.loc[::5, "income"] = np.nan
    encode = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), ["city", "member"]),
        (make_pipeline(FunctionTransformer(), OneHotEncoder()), ["zip"]),
        (SimpleImputer(), ["age", "income"]),
    )
    labels = target.map({0: "no", 1: "yes"})
    pipeline = make_pipeline(encode, LogisticRegression()).fit(frame, labels)
    joblib.dump(pipeline, model / "pipeline.joblib")
    wrong = bad(JSON, [[30, 5, 1, True, "2"]], "the column 'city' holds 5 in row 1; it takes text")
    asks = ask_rows(frame.head(8), pipeline.predict(frame.head(8)))
    return Case([*asks, *refuse_rows(frame, "age"), wrong], TRUSTED)


def make_pickle(model: Path) -> Case:
    """Save columns without names."""
    forest = RandomForestClassifier(3, random_state=0).fit(numbers.to_numpy(), target)
    (model / "model.pkl").write_bytes(pickle.dumps(forest))
    data = numbers.to_numpy()[:3]
    expected = forest.predict(data)
    return Case(
        [
            good(JSON, data.tolist(), expected),
            good("application/x-npy", data, expected),
            bad(JSON, [{"age": 1, "income": 2}], "columns have no names"),
            bad(JSON, [[1, "x"]], "text is in column 2"),
        ],
        TRUSTED,
    )


def make_compressed(model: Path) -> Case:
    """Compress a pickle by the standard library, which joblib reads as its own."""
    regression = LinearRegression().fit(numbers, target)
    with gzip.open(model / "model.pkl.gz", "wb") as file:
        pickle.dump(regression, file)
    asks = ask_rows(numbers.head(3), regression.predict(numbers.head(3)))
    return Case([*asks, *refuse_rows(numbers, "age")], TRUSTED)


def make_texts(model: Path) -> Case:
    pipeline = make_pipeline(TfidfVectorizer(), LogisticRegression())
    pipeline.fit(["good thing", "bad thing", "none"] * 5, ["p", "n", "o"] * 5)
    skops.io.dump(pipeline, model / "model.skops")
    expected = pipeline.predict(["good", "none"])
    return Case(
        [
            good(JSON, ["good", "none"], expected),
            good(JSON, [["good"], ["none"]], expected),
            good(CSV, "good\nnone\n", expected),
            bad(JSON, [5], "the input 'text' must be text; numbers"),
            bad(JSON, ["good", None], "the input 'text' must be text; null was found"),
            bad(JSON, [["good", "bad"]], "the input 'text' has the shape [1, 2]"),
        ]
    )


KINDS = {
    "skops": make_skops,
    "skops-trees": make_skops_trees,
    "joblib": make_joblib,
    "pickle": make_pickle,
    "compressed": make_compressed,
    "texts": make_texts,
}
