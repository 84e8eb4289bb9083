"""Serve the bundled network for pictures of any size and color; answer in words, as JSON.

There is no `model_fn` here: the model directory holds an artifact of the toolkit, which is loaded
for us, and its
`predict` takes images `[n, height, width, channel] uint8` and returns probabilities.
"""

import io
import json
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError
from sagemaker_inference.errors import BaseInferenceToolkitError

TYPES = ("image/png", "image/jpeg", "image/bmp")
manifest = {}


def pre_model_fn(model_dir):
    manifest.update(json.loads(Path(model_dir, "model.json").read_text()))


def input_fn(data, content_type):
    if content_type not in TYPES:
        raise BaseInferenceToolkitError(
            415, f"send one of {', '.join(TYPES)}, not {content_type}", "Unsupported"
        )
    height, width, channels = manifest["input_shape"]
    try:
        picture = Image.open(io.BytesIO(data)).convert("L" if channels == 1 else "RGB")
    except (UnidentifiedImageError, OSError) as error:
        raise BaseInferenceToolkitError(
            400, f"the body is not a picture: {error}", "Bad Request"
        ) from error
    return np.asarray(ImageOps.fit(picture, (width, height)), np.uint8).reshape(
        1, height, width, channels
    )


def output_fn(prediction, accept):
    best = np.argsort(prediction[0])[::-1][:3]
    answer = [
        {"label": manifest["classes"][i], "score": round(float(prediction[0][i]), 4)} for i in best
    ]
    return json.dumps({"best": answer}), "application/json"
