"""Trains a decision tree on the CSV files of the channel `training`: a class, then its features."""

import argparse
import os
from pathlib import Path

import joblib
import numpy as np
from sklearn.metrics import accuracy_score
from sklearn.model_selection import train_test_split
from sklearn.tree import DecisionTreeClassifier

parser = argparse.ArgumentParser()
parser.add_argument("--max-depth", type=int, default=5)
arguments, others = parser.parse_known_args()
if others:  # the SDKs may add --model_dir
    print("ignored:", *others, flush=True)

files = sorted(Path(os.environ["SM_CHANNEL_TRAINING"]).glob("*.csv"))
table = np.concatenate([np.loadtxt(file, delimiter=",", dtype=str, ndmin=2) for file in files])
features, classes = table[:, 1:].astype(float), table[:, 0]
train_x, held_out_x, train_y, held_out_y = train_test_split(
    features, classes, random_state=0, stratify=classes
)

tree = DecisionTreeClassifier(max_depth=arguments.max_depth, random_state=0).fit(train_x, train_y)
print(f"validation_accuracy={accuracy_score(held_out_y, tree.predict(held_out_x)):.4f};")
joblib.dump(tree, Path(os.environ["SM_MODEL_DIR"], "tree.joblib"))
