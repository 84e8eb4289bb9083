"""Trains on the CSV files in the channel `training`; hyperparameters arrive as arguments."""

import argparse
import json
import os
from pathlib import Path

import numpy as np

parser = argparse.ArgumentParser()
parser.add_argument("--scale", type=float, default=1.0)
arguments, others = parser.parse_known_args()
if others:  # the SDKs may add --model_dir
    print("ignored:", *others, flush=True)

files = sorted(Path(os.environ["SM_CHANNEL_TRAINING"]).glob("*.csv"))
table = np.concatenate([np.loadtxt(file, delimiter=",", ndmin=2) for file in files])
print(f"rows={len(table)};")
means = arguments.scale * table.mean(axis=0)
Path(os.environ["SM_MODEL_DIR"], "means.json").write_text(json.dumps(means.tolist()))
