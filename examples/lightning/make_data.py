"""Write scikit-learn's digits to DIR/training/digits.csv, and a request, DIR/request.csv."""

import sys
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

directory = Path(sys.argv[1])
pixels, digits = load_digits(return_X_y=True)
(directory / "training").mkdir(parents=True, exist_ok=True)
rows = np.column_stack([digits, pixels])
np.savetxt(directory / "training/digits.csv", rows, fmt="%d", delimiter=",")
np.savetxt(directory / "request.csv", pixels[:3], fmt="%d", delimiter=",")
