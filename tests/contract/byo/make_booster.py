"""Fixture program: trains a small booster into a folder, and writes what it predicts."""

import json
import sys
from pathlib import Path

import numpy as np
import xgboost

folder = Path(sys.argv[1])
folder.mkdir(parents=True)
rows = np.arange(20.0).reshape(10, 2)
booster = xgboost.train({}, xgboost.DMatrix(rows, rows[:, 0]), 2)
booster.save_model(folder / "clf.ubj")
predictions = booster.predict(xgboost.DMatrix(rows[:3])).tolist()
expected = {"rows": rows[:3].tolist(), "predictions": predictions}
(folder / "expected.json").write_text(json.dumps(expected))
