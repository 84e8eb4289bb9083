"""Fits a pipeline on the CSV files of the channel `training`, whose headers name the columns.

One column is the target. Text columns become one-hot vectors, missing numbers the median.
"""

import argparse
import os
from pathlib import Path

import joblib
import pandas as pd
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.ensemble import GradientBoostingRegressor
from sklearn.impute import SimpleImputer
from sklearn.metrics import r2_score
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

parser = argparse.ArgumentParser()
parser.add_argument("--target", default="rent")
parser.add_argument("--trees", type=int, default=100)
arguments, others = parser.parse_known_args()
if others:  # the SDKs may add --model_dir
    print("ignored:", *others, flush=True)

files = sorted(Path(os.environ["SM_CHANNEL_TRAINING"]).glob("*.csv"))
table = pd.concat([pd.read_csv(file) for file in files])
features, target = table.drop(columns=arguments.target), table[arguments.target]
train_x, held_out_x, train_y, held_out_y = train_test_split(features, target, random_state=0)

pipeline = make_pipeline(
    make_column_transformer(
        (SimpleImputer(strategy="median"), make_column_selector(dtype_include="number")),
        (OneHotEncoder(handle_unknown="ignore"), make_column_selector(dtype_exclude="number")),
    ),
    GradientBoostingRegressor(n_estimators=arguments.trees, random_state=0),
).fit(train_x, train_y)
print(f"validation_r2={r2_score(held_out_y, pipeline.predict(held_out_x)):.4f};")
joblib.dump(pipeline, Path(os.environ["SM_MODEL_DIR"], "pipeline.joblib"))
