"""Models of XGBoost, LightGBM and CatBoost."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import catboost
import joblib
import lightgbm
import numpy as np
import pandas as pd
import xgboost

from tests.contract.models.cases import CSV, JSON, Case, ask_rows, bad, good, refuse_rows

rng = np.random.default_rng(0)
table = pd.DataFrame({"age": rng.uniform(18, 80, 60), "city": rng.choice(["a", "b"], 60)})
table["income"] = rng.uniform(1, 9, 60)
target = ((table["age"] > 50) ^ (table["city"] == "a")).astype(int)
classes = rng.integers(0, 3, 60)
numbers = table[["age", "income"]]
holes = numbers.head(4).copy()
holes.iloc[1, 0] = np.nan
categorical = table.astype({"city": "category"})
zips = pd.DataFrame({"age": table["age"], "zip": rng.choice([10, 20, 35], 60)})
codes = zips.astype({"zip": "category"})
SMALL = {"verbose": -1, "min_data_in_leaf": 3, "min_data_per_group": 3}
TRUSTED = {"BYO_ALLOW_PICKLE": "true"}
QUICK: dict[str, Any] = {"iterations": 5, "verbose": 0, "allow_writing_files": False}


def make_xgboost(model: Path) -> Case:
    booster = xgboost.train({"objective": "binary:logistic"}, xgboost.DMatrix(numbers, target), 5)
    booster.save_model(model / "model.json")
    asks = ask_rows(numbers.head(3), booster.predict(xgboost.DMatrix(numbers.head(3))))
    asks += ask_rows(holes, booster.predict(xgboost.DMatrix(holes)))
    too_large = bad(JSON, "[[Infinity, 1]]", "the column 'age' holds inf in row 1")
    return Case([*asks, *refuse_rows(numbers, "age"), too_large])


def make_xgboost_classes(model: Path) -> Case:
    """Save columns without names, and a model of several classes."""
    data = numbers.to_numpy()
    settings = {"objective": "multi:softprob", "num_class": 3}
    booster = xgboost.train(settings, xgboost.DMatrix(data, classes), 3)
    booster.save_model(model / "clf.ubj")
    expected = booster.predict(xgboost.DMatrix(data[:2]))
    return Case(
        [
            good(JSON, data[:2].tolist(), expected),
            good("application/x-npy", data[:2], expected),
            bad(JSON, [{"age": 1, "income": 2}], "columns have no names"),
            bad(CSV, "age,income\n1,2\n", "without a header"),
            bad(CSV, "1,x\n", "column 2 holds 'x'"),
        ]
    )


def make_xgboost_categories(model: Path) -> Case:
    matrix = xgboost.DMatrix(categorical, target, enable_categorical=True)
    booster = xgboost.train({"objective": "reg:squarederror"}, matrix, 3)
    booster.save_model(model / "model.json")
    head = xgboost.DMatrix(categorical.head(3), enable_categorical=True)
    asks = ask_rows(table.head(3), booster.predict(head))
    unseen = bad(JSON, [[30, "zz", 3]], "the column 'city' holds 'zz' in row 1; its categories are")
    number = bad(JSON, [[30, 5, 3]], "the column 'city' holds 5 in row 1")
    return Case([*asks, *refuse_rows(table, "age"), unseen, number])


def make_xgboost_codes(model: Path) -> Case:
    """Save categories that are numbers, which are not the places that the trees hold."""
    classifier = xgboost.XGBClassifier(n_estimators=3, enable_categorical=True)
    classifier.fit(codes, classes)
    classifier.save_model(model / "model.ubj")
    asks = ask_rows(zips.head(3), classifier.predict_proba(codes.head(3)))
    unseen = bad(JSON, [[30, 99]], "the column 'zip' holds 99 in row 1; its categories are 10, 20")
    return Case([*asks, *refuse_rows(zips, "age"), unseen])


def make_xgboost_stopped(model: Path) -> Case:
    """Save rounds that made the answers worse, which early stopping leaves in the file."""
    classifier = xgboost.XGBClassifier(n_estimators=50, early_stopping_rounds=5)
    classifier.fit(numbers[:30], target[:30], eval_set=[(numbers[30:], target[30:])], verbose=False)
    assert classifier.best_iteration + 1 < classifier.get_booster().num_boosted_rounds()
    classifier.save_model(model / "model.json")
    return Case(ask_rows(numbers.head(3), classifier.predict_proba(numbers.head(3))[:, 1]))


def make_xgboost_linear(model: Path) -> Case:
    """Save weights, of which XGBoost keeps only those of the last round."""
    linear = xgboost.XGBRegressor(booster="gblinear", n_estimators=50, early_stopping_rounds=1)
    linear.fit(numbers[:30], target[:30], eval_set=[(numbers[30:], target[30:])], verbose=False)
    linear.save_model(model / "model.json")
    return Case(ask_rows(numbers.head(3), linear.predict(numbers.head(3))))


def make_xgboost_sagemaker(model: Path) -> Case:
    """Save as SageMaker's own container does, under a name without a suffix."""
    matrix = xgboost.DMatrix(numbers.to_numpy(), target)
    booster = xgboost.train({"objective": "binary:logistic"}, matrix, 3)
    booster.save_model(model / "xgboost-model")
    data = numbers.to_numpy()[:2]
    expected = booster.predict(xgboost.DMatrix(data))
    return Case([good(JSON, data.tolist(), expected), bad(JSON, [[1]], "['n', 2] is expected")])


def make_xgboost_pickled(model: Path) -> Case:
    """Save as the older versions of that container did."""
    booster = xgboost.train({"objective": "binary:logistic"}, xgboost.DMatrix(numbers, target), 3)
    (model / "xgboost-model").write_bytes(pickle.dumps(booster))
    asks = ask_rows(holes, booster.predict(xgboost.DMatrix(holes)))
    return Case([*asks, *refuse_rows(numbers, "age")], TRUSTED)


def make_xgboost_classifier(model: Path) -> Case:
    """Pickle the class of scikit-learn's kind, whose answer is a label."""
    classifier = xgboost.XGBClassifier(n_estimators=3).fit(numbers, classes)
    joblib.dump(classifier, model / "model.joblib.xz")
    asks = ask_rows(holes, classifier.predict(holes))
    return Case([*asks, *refuse_rows(numbers, "age")], TRUSTED)


def make_xgboost_frame(model: Path) -> Case:
    """Pickle a class of scikit-learn's kind that was fitted on categories."""
    classifier = xgboost.XGBClassifier(n_estimators=3, enable_categorical=True)
    classifier.fit(categorical, classes)
    joblib.dump(classifier, model / "model.joblib")
    asks = ask_rows(table.head(3), classifier.predict(categorical.head(3)))
    unseen = bad(JSON, [[30, "zz", 3]], "the model refuses these rows")
    return Case([*asks, *refuse_rows(table, "age"), unseen], TRUSTED)


def make_lightgbm_frame(model: Path) -> Case:
    """Pickle a class of scikit-learn's kind that was fitted on categories."""
    classifier = lightgbm.LGBMClassifier(n_estimators=3, **SMALL).fit(categorical, target)
    joblib.dump(classifier, model / "model.joblib")
    asks = ask_rows(table.head(4), classifier.predict(categorical.head(4)))
    unseen = categorical.head(1).assign(city=pd.Categorical(["new"], ["a", "b"]))
    row = [table["age"][0], "new", table["income"][0]]
    asks.append(good(JSON, [row], classifier.predict(unseen)))
    return Case([*asks, *refuse_rows(table, "age")], TRUSTED)


def make_catboost_pickled(model: Path) -> Case:
    classifier = catboost.CatBoostClassifier(**QUICK, cat_features=["city"])
    classifier.fit(table, target.map({0: "no", 1: "yes"}))
    (model / "model.sav").write_bytes(pickle.dumps(classifier))
    asks = ask_rows(table.head(4), classifier.predict(table.head(4)))
    return Case([*asks, *refuse_rows(table, "age")], TRUSTED)


def make_lightgbm_pickled(model: Path) -> Case:
    settings = {"objective": "multiclass", "num_class": 3, **SMALL}
    booster = lightgbm.train(settings, lightgbm.Dataset(codes, classes), 3)
    joblib.dump(booster, model / "gbm.pkl.gz")
    asks = ask_rows(zips.head(3), booster.predict(codes.head(3)))
    return Case([*asks, *refuse_rows(zips, "zip")], TRUSTED)


def make_catboost_nameless(model: Path) -> Case:
    """Save under a name that says nothing, as CatBoost's own examples do."""
    regressor = catboost.CatBoostRegressor(**QUICK).fit(numbers, table["income"])
    regressor.save_model(model / "model.bin")
    asks = ask_rows(numbers.head(3), regressor.predict(numbers.head(3)))
    return Case([*asks, *refuse_rows(numbers, "age")])


def make_lightgbm(model: Path) -> Case:
    """Save text categories, one of a single value, which no tree uses."""
    frame = categorical.assign(country=pd.Categorical(["x"] * 60))
    data = lightgbm.Dataset(frame, target)
    booster = lightgbm.train({"objective": "binary", **SMALL}, data, 5)
    booster.save_model(model / "model.txt")
    (model / "labels.txt").write_text("no\nyes\n")
    plain = table.assign(country="x").head(4)
    asks = ask_rows(plain, booster.predict(frame.head(4)))
    unseen = frame.head(1).assign(city=pd.Categorical(["new"], ["a", "b"]))
    asks += [
        good(
            JSON,
            [[*table.iloc[0][["age"]], "new", table.iloc[0]["income"], "x"]],
            booster.predict(unseen),
        ),
        bad(JSON, [[30, 5, 2, "x"]], "the column 'city' holds 5 in row 1; its categories are 'a'"),
    ]
    return Case([*asks, *refuse_rows(plain, "age")])


def make_lightgbm_classes(model: Path) -> Case:
    settings = {"objective": "multiclass", "num_class": 3, **SMALL}
    booster = lightgbm.train(settings, lightgbm.Dataset(codes, classes), 3)
    booster.save_model(model / "model.txt")
    return Case(
        [*ask_rows(zips.head(3), booster.predict(codes.head(3))), *refuse_rows(zips, "zip")]
    )


def make_catboost(model: Path) -> Case:
    classifier = catboost.CatBoostClassifier(**QUICK, cat_features=["city"])
    classifier.fit(table, target.map({0: "no", 1: "yes"}))
    classifier.save_model(model / "model.cbm")
    null = bad(JSON, [[30, None, 1]], "the column 'city' holds null in row 1")
    asks = ask_rows(table.head(4), classifier.predict(table.head(4)))
    return Case([*asks, *refuse_rows(table, "age"), null])


def make_catboost_texts(model: Path) -> Case:
    frame = pd.DataFrame({"t": ["good thing", "bad thing", "good good"] * 20, "age": table["age"]})
    classifier = catboost.CatBoostClassifier(**QUICK, text_features=["t"])
    classifier.fit(frame, target)
    classifier.save_model(model / "model.cbm")
    asks = ask_rows(frame.head(3), classifier.predict(frame.head(3)))
    number = bad(JSON, [[5, 1]], "the column 't' holds 5 in row 1; it takes text")
    return Case([*asks, *refuse_rows(frame, "age"), number])


def make_catboost_labels(model: Path) -> Case:
    """Save a classifier of several labels for a row."""
    classifier = catboost.CatBoostClassifier(**QUICK, loss_function="MultiLogloss")
    classifier.fit(numbers, np.column_stack([target, 1 - target]))
    classifier.save_model(model / "model.cbm")
    asks = ask_rows(numbers.head(3), classifier.predict(numbers.head(3)))
    return Case([*asks, *refuse_rows(numbers, "age")])


KINDS = {
    "xgboost": make_xgboost,
    "xgboost-classes": make_xgboost_classes,
    "xgboost-categories": make_xgboost_categories,
    "xgboost-codes": make_xgboost_codes,
    "xgboost-stopped": make_xgboost_stopped,
    "xgboost-linear": make_xgboost_linear,
    "xgboost-sagemaker": make_xgboost_sagemaker,
    "xgboost-pickled": make_xgboost_pickled,
    "xgboost-classifier": make_xgboost_classifier,
    "xgboost-frame": make_xgboost_frame,
    "lightgbm-frame": make_lightgbm_frame,
    "catboost-pickled": make_catboost_pickled,
    "lightgbm": make_lightgbm,
    "lightgbm-classes": make_lightgbm_classes,
    "lightgbm-pickled": make_lightgbm_pickled,
    "catboost": make_catboost,
    "catboost-texts": make_catboost_texts,
    "catboost-labels": make_catboost_labels,
    "catboost-nameless": make_catboost_nameless,
}
