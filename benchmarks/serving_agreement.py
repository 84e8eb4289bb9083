"""Claim: LiteRT, SavedModel and Keras agree within 1e-5, through HTTP, in every media type.

Machine: any. n: every image of CSV.gz in every media type of a body; in JSON, JSON lines, CSV and
npy for answers.

usage: serving_agreement.py MODEL_DIR CSV.gz

MODEL_DIR is an artifact of this toolkit; CSV.gz has a header and the label first. Keras' own
`predict`, in a process of its own, is what all are compared to; for JPEG, on the pixels that Pillow
reads. Exits 1 where a difference is larger.
"""

from __future__ import annotations

import argparse
import http.client
import io
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

ROOT = Path(__file__).parents[1]
TOLERANCE = 1e-5
BLOCK = 500
KERAS = """
import sys, keras, numpy as np
model = keras.models.load_model(sys.argv[1])
np.save(sys.argv[3], model.predict(np.load(sys.argv[2]), verbose=0, batch_size=500))
"""


def predict_with_keras(model: Path, images: np.ndarray) -> np.ndarray:
    """Ask Keras in a process of its own."""
    with tempfile.TemporaryDirectory() as directory:
        given, found = Path(directory, "images.npy"), Path(directory, "probabilities.npy")
        np.save(given, images)
        environ = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
        subprocess.run(
            [sys.executable, "-c", KERAS, model / "model.keras", given, found],
            check=True,
            env=environ,
        )
        return np.load(found)


def save(write: Callable[..., Any], *arguments: Any, **options: Any) -> bytes:
    """Return what is written to a stream."""
    stream = io.BytesIO()
    write(stream, *arguments, **options)
    return stream.getvalue()


def frame_record(image: np.ndarray) -> bytes:
    """Make a RecordIO record of a dense float32 tensor."""

    def field(number: int, content: bytes) -> bytes:
        size, length = len(content), b""
        while size > 127:
            length, size = length + bytes([size & 127 | 128]), size >> 7
        return bytes([number << 3 | 2]) + length + bytes([size]) + content

    tensor = field(2, field(1, image.ravel().astype("<f4").tobytes()))
    record = field(1, field(1, b"values") + field(2, tensor))
    return b"\x0a#\xd7\xce" + len(record).to_bytes(4, "little") + record + bytes(-len(record) % 4)


def picture(image: np.ndarray, kind: str) -> bytes:
    """Encode one image."""
    return save(Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save, format=kind)


def scale(row: list[int]) -> list[int] | list[float]:
    """Divide by 255, except rows of only 0 and 255, where 0 and 1 would mean very dark pixels."""
    return row if set(row) <= {0, 255} else [pixel / 255 for pixel in row]


def list_bodies(images: np.ndarray, size: int) -> Iterator[tuple[str, list[bytes]]]:
    """Return every media type with bodies of `size` images each, or of one."""
    blocks = [images[start : start + size] for start in range(0, len(images), size)]
    flat = [block.reshape(len(block), -1).tolist() for block in blocks]
    yield "text/csv", ["\n".join(",".join(map(str, row)) for row in rows).encode() for rows in flat]
    yield (
        "application/json",
        [json.dumps({"instances": block.tolist()}).encode() for block in blocks],
    )
    yield "application/json", [json.dumps([scale(row) for row in rows]).encode() for rows in flat]
    yield (
        "application/jsonlines",
        ["\n".join(json.dumps({"features": row}) for row in rows).encode() for rows in flat],
    )
    yield "application/x-npy", [save(np.save, block) for block in blocks]
    yield "application/x-npz", [save(np.savez_compressed, block) for block in blocks]
    yield (
        "application/x-recordio-protobuf",
        [b"".join(map(frame_record, block)) for block in blocks],
    )
    part = b"--XX\r\nContent-Type: image/png\r\n\r\n"
    yield (
        "multipart/form-data; boundary=XX",
        [
            part + (b"\r\n" + part).join(picture(image, "PNG") for image in block) + b"\r\n--XX--"
            for block in blocks
        ],
    )
    for kind in ("png", "jpeg", "bmp"):
        yield f"image/{kind}", [picture(image, kind) for image in images]


def decode(accept: str, answer: bytes) -> np.ndarray:
    """Read the probabilities of an answer."""
    if accept == "application/json":
        return np.array(json.loads(answer)["outputs"])
    if accept == "application/jsonlines":
        return np.array([json.loads(line)["output"] for line in answer.splitlines()])
    if accept == "text/csv":
        return np.loadtxt(io.BytesIO(answer), delimiter=",", ndmin=2)
    return np.load(io.BytesIO(answer))


def start(model: Path, runtime: str) -> tuple[subprocess.Popen[bytes], http.client.HTTPConnection]:
    """Start the server and wait until it is healthy."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environ = {
        "SAGEMAKER_BASE_DIR": str(model.parent),
        "SAGEMAKER_BIND_TO_PORT": str(port),
        "SAGEMAKER_GUNICORN_LOGLEVEL": "error",
        "BYO_RUNTIME": runtime,
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "PYTHONPATH": str(ROOT),
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "container", "serve"], env={**os.environ, **environ}
    )
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
    for _ in range(3000):
        try:
            connection.request("GET", "/ping")
            answer = connection.getresponse()
            answer.read()
            if answer.status == 200:
                return process, connection
        except OSError:
            connection.close()
        if process.poll() is not None:
            break
        time.sleep(0.1)
    message = f"the server with {runtime} does not start"
    raise RuntimeError(message)


def main() -> int:
    """Compare all."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path)
    parser.add_argument("csv", type=Path)
    options = parser.parse_args()
    shape = json.loads((options.model / "model.json").read_text())["input_shape"]
    rows = np.loadtxt(options.csv, delimiter=",", skiprows=1, dtype=np.uint8, encoding="utf-8")
    images = rows[:, 1:].reshape(-1, *shape)
    expected = predict_with_keras(options.model, images)
    blurred = [np.asarray(Image.open(io.BytesIO(picture(image, "jpeg")))) for image in images]
    expected_of_jpeg = predict_with_keras(options.model, np.stack(blurred).reshape(images.shape))
    worst = 0.0
    print(
        f"{len(images)} images\n\n| body | answer | LiteRT | SavedModel | Keras |\n|---|---|---|"
        f"---|---|"
    )
    differences: dict[tuple[str, str], list[float]] = {}
    for runtime in ("litert", "saved_model", "keras"):
        process, connection = start(options.model.resolve(), runtime)
        for number, (content_type, bodies) in enumerate(list_bodies(images, BLOCK)):
            answer_types = [
                "application/json",
                "application/jsonlines",
                "text/csv",
                "application/x-npy",
            ]
            # One of the four for every body, and for CSV all: decoding and encoding do not meet.
            for accept in (
                answer_types if content_type == "text/csv" else [answer_types[number % 4]]
            ):
                found = []
                for body in bodies:
                    connection.request(
                        "POST",
                        "/invocations",
                        body,
                        {"Content-Type": content_type, "Accept": accept},
                    )
                    answer = connection.getresponse()
                    content = answer.read()
                    if answer.status != 200:
                        raise RuntimeError(content.decode())
                    found.append(decode(accept, content))
                wanted = expected_of_jpeg if content_type == "image/jpeg" else expected
                difference = float(np.abs(np.concatenate(found) - wanted).max())
                worst = max(worst, difference)
                differences.setdefault((f"{content_type} ({number + 1})", accept), []).append(
                    difference
                )
        process.terminate()
        process.wait(60)
    for (content_type, accept), found_differences in differences.items():
        cells = " | ".join(f"{difference:.1e}" for difference in found_differences)
        print(f"| {content_type} | {accept} | {cells} |")
    print(f"\nlargest difference from Keras' predict: {worst:.1e}; {TOLERANCE:.0e} is allowed")
    return int(not worst <= TOLERANCE)


if __name__ == "__main__":
    sys.exit(main())
