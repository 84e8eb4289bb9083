"""Claim: training reads CIFAR-10's 60,000 JPEG files into memory in 4 s on 2 cores.

Machine, versions and n are printed; results.md has the results. Run: python
benchmarks/read_pictures.py FOLDER [FOLDER ...]

Each folder holds CLASS/NAME.jpg, as CIFAR-10's train and test do. The product reads all folders in
turns with the decoder of a training job (tf.data) and with that of an evaluation (Pillow), for n
rounds; a round includes listing the files. TensorFlow is imported before the first round. The two
must return equal images.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"


def main() -> None:
    """Run the rounds and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()

    import PIL
    import tensorflow as tf

    from container.data import loading
    from container.data.formats.parts import Options
    from container.training.input.decoding import Decoder

    print(f"{name_cpu()}, {len(os.sched_getaffinity(0))} processors, n={arguments.rounds}")
    print(
        f"Python {platform.python_version()}, TensorFlow {tf.__version__}, Pillow {PIL.__version__}"
    )
    decoder = Decoder()
    decoder.start()
    options = {"tf.data": Options(run=decoder.run), "Pillow": Options()}
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in options}
    for _ in range(arguments.rounds):
        sets = {}
        for name, how in options.items():
            started = (time.perf_counter(), time.process_time())
            sets[name] = [loading.load(folder, how) for folder in arguments.folders]
            times[name].append((time.perf_counter() - started[0], time.process_time() - started[1]))
        count = sum(len(found.labels) for found in sets["Pillow"])
        for found, expected in zip(*sets.values(), strict=True):
            if not np.array_equal(found.images, expected.images):
                raise SystemExit("the two decoders do not return equal images")
    print(f"{count:,} pictures; the images of both decoders are equal")
    print(f"{'decoder':10}{'s, median':>12}{'best':>8}{'CPU s':>8}{'pictures/s':>12}")
    for name, found in times.items():
        walls = [wall for wall, _ in found]
        cpu_s = statistics.median(cpu for _, cpu in found)
        median = statistics.median(walls)
        print(f"{name:10}{median:12.2f}{min(walls):8.2f}{cpu_s:8.2f}{count / median:12,.0f}")


def name_cpu() -> str:
    """Return the model of the processor."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    found = (line.partition(": ")[2] for line in lines if line.startswith("model name"))
    return next(found, platform.machine())


if __name__ == "__main__":
    main()
