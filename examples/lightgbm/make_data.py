"""Write scikit-learn's wines to DIR/training/wines.csv, and a request, DIR/request.csv."""

import sys
from pathlib import Path

import numpy as np
from sklearn.datasets import load_wine

directory = Path(sys.argv[1])
features, classes = load_wine(return_X_y=True)
(directory / "training").mkdir(parents=True, exist_ok=True)
rows = np.column_stack([classes, features])
np.savetxt(directory / "training/wines.csv", rows, fmt="%g", delimiter=",")
np.savetxt(directory / "request.csv", features[-1:], fmt="%g", delimiter=",")
