"""Write scikit-learn's iris flowers to DIR/training/iris.csv, and a request, DIR/request.csv."""

import sys
from pathlib import Path

from sklearn.datasets import load_iris

directory = Path(sys.argv[1])
flowers = load_iris()
(directory / "training").mkdir(parents=True, exist_ok=True)
with (directory / "training/iris.csv").open("w") as file:
    for target, features in zip(flowers.target, flowers.data, strict=True):
        print(flowers.target_names[target], *features, sep=",", file=file)
(directory / "request.csv").write_text(",".join(map(str, flowers.data[-1])) + "\n")
