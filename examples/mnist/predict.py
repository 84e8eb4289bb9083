"""Asks an endpoint for ten random images of a test set: `predict.py URL mnist_test.csv`."""

import json
import random
import sys
import urllib.request
from pathlib import Path

import numpy as np

url, path = sys.argv[1:]
rows = random.sample(Path(path).read_text().splitlines()[1:], 10)
labels, pixels = zip(*(row.split(",", 1) for row in rows), strict=True)
request = urllib.request.Request(url, "\n".join(pixels).encode(), {"Content-Type": "text/csv"})
with urllib.request.urlopen(request) as response:
    predictions = json.load(response)["predictions"]
for label, prediction in zip(labels, predictions, strict=True):
    print(f"label {label}  prediction {np.argmax(prediction)}  score {max(prediction):.3f}")
