"""Boosts trees on the CSV files of the channel `training`: a class, 0, 1, ..., then its features.

It stops when the validation no longer improves.
"""

import argparse
import os
from pathlib import Path

import lightgbm
import numpy as np

parser = argparse.ArgumentParser()
parser.add_argument("--rounds", type=int, default=200)
parser.add_argument("--num-leaves", type=int, default=15)
parser.add_argument("--patience", type=int, default=10)
arguments, others = parser.parse_known_args()
if others:  # the SDKs may add --model_dir
    print("ignored:", *others, flush=True)

files = sorted(Path(os.environ["SM_CHANNEL_TRAINING"]).glob("*.csv"))
table = np.concatenate([np.loadtxt(file, delimiter=",", ndmin=2) for file in files])
table = np.random.default_rng(0).permutation(table)
held_out = len(table) // 5
training = lightgbm.Dataset(table[held_out:, 1:], table[held_out:, 0])
validation = training.create_valid(table[:held_out, 1:], table[:held_out, 0])

settings = {
    "objective": "multiclass",
    "num_class": int(table[:, 0].max()) + 1,
    "metric": "multi_error",
    "num_leaves": arguments.num_leaves,
    "verbosity": -1,
}
booster = lightgbm.train(
    settings,
    training,
    arguments.rounds,
    [validation],
    callbacks=[lightgbm.early_stopping(arguments.patience, verbose=False)],
)
error = booster.best_score["valid_0"]["multi_error"]
print(f"rounds={booster.best_iteration}; validation_error={error:.4f};")
booster.save_model(Path(os.environ["SM_MODEL_DIR"], "model.txt"))
