"""Writes scikit-learn's digits as an image folder: DIR/training/CLASS/NUMBER.png."""

import sys
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

directory = Path(sys.argv[1]) / "training"
digits = load_digits()
for number, (image, target) in enumerate(
    zip(digits.images[:160], digits.target[:160], strict=True)
):
    path = directory / f"digit-{target}" / f"{number}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((image * (255 / 16)).astype(np.uint8)).resize((32, 32)).convert("RGB").save(
        path
    )
