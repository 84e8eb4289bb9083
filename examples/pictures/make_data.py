"""Write scikit-learn's digits to DIR/training/digits.csv, and a larger picture, DIR/seven.png."""

import sys
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

directory = Path(sys.argv[1])
digits = load_digits()
images = (digits.images * (255 / 16)).astype(np.uint8)
(directory / "training").mkdir(parents=True, exist_ok=True)
rows = np.column_stack([digits.target, images.reshape(len(images), -1)])
header = ",".join(["label", *(f"pixel{i}" for i in range(64))])
np.savetxt(
    directory / "training/digits.csv", rows, fmt="%d", delimiter=",", header=header, comments=""
)
Image.fromarray(images[7]).resize((32, 32)).convert("RGB").save(directory / "seven.png")
