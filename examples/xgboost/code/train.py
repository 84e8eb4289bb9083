"""Boosts trees on the CSV files of the channel `training`: a label, 0 or 1, then its features.

The files have no header, as for SageMaker's built-in XGBoost.
"""

import argparse
import os
from pathlib import Path

import numpy as np
import xgboost

parser = argparse.ArgumentParser()
parser.add_argument("--rounds", type=int, default=50)
parser.add_argument("--max-depth", type=int, default=4)
parser.add_argument("--learning-rate", type=float, default=0.2)
arguments, others = parser.parse_known_args()
if others:  # the SDKs may add --model_dir
    print("ignored:", *others, flush=True)

files = sorted(Path(os.environ["SM_CHANNEL_TRAINING"]).glob("*.csv"))
table = np.concatenate([np.loadtxt(file, delimiter=",", ndmin=2) for file in files])
table = np.random.default_rng(0).permutation(table)
held_out = len(table) // 5
training = xgboost.DMatrix(table[held_out:, 1:], table[held_out:, 0])
validation = xgboost.DMatrix(table[:held_out, 1:], table[:held_out, 0])

settings = {
    "objective": "binary:logistic",
    "eval_metric": "error",
    "max_depth": arguments.max_depth,
    "learning_rate": arguments.learning_rate,
}
booster = xgboost.train(settings, training, arguments.rounds)
error = float(booster.eval(validation).rpartition(":")[2])
print(f"validation_error={error:.4f};")
booster.save_model(Path(os.environ["SM_MODEL_DIR"], "model.json"))
