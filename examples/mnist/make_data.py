"""Write scikit-learn's digits in MNIST's layout to DIR/training and DIR/testing."""

import sys
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

directory = Path(sys.argv[1])
digits = load_digits()
small = (digits.images * (255 / 16)).astype(np.uint8)
images = np.stack(
    [
        np.asarray(Image.fromarray(image).resize((28, 28), Image.Resampling.BILINEAR))
        for image in small
    ]
)
rows = np.column_stack([digits.target, images.reshape(len(images), -1)])
header = ",".join(["label", *(f"pixel{i}" for i in range(784))])
for name, part in zip(
    ("train", "test"), train_test_split(rows, test_size=360, random_state=0), strict=True
):
    channel = directory / f"{name}ing"
    channel.mkdir(parents=True, exist_ok=True)
    np.savetxt(
        channel / f"mnist_{name}.csv", part, fmt="%d", delimiter=",", header=header, comments=""
    )
