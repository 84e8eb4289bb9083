"""Write scikit-learn's breast cancers to DIR/training/cells.csv, and a request, DIR/request.csv."""

import sys
from pathlib import Path

import numpy as np
from sklearn.datasets import load_breast_cancer

directory = Path(sys.argv[1])
features, labels = load_breast_cancer(return_X_y=True)
(directory / "training").mkdir(parents=True, exist_ok=True)
rows = np.column_stack([labels, features])
np.savetxt(directory / "training/cells.csv", rows, fmt="%g", delimiter=",")
np.savetxt(directory / "request.csv", features[:2], fmt="%g", delimiter=",")
