"""Print the table of networks in docs/training.md: parameters, operations, images/s of training.

Machine and versions are printed. n: `--rounds` calls of the product's loop a network, of which the
best counts; with 0 nothing is trained. Run: python benchmarks/models.py [--only NAME,...] [--rounds
3]

Each network trains in a process of its own with the defaults of its recipe and 10 classes, on
noise: those for small images at 32x32, those of keras.applications at 224x224, color. Operations
are multiplications and additions of one image's forward pass, counted by TensorFlow's profiler in
the graph; a training step takes about three times as many.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
CALL_S = 2.0


def measure(name: str, rounds: int) -> str:
    """Measure one network; give its row of the table."""
    from container.training import settings as hyperparameters
    from container.training.step import device as devices

    devices.import_tensorflow()
    import numpy as np
    import tensorflow as tf

    from container.data.images import LabeledImages
    from container.training.defaults import recipes
    from container.training.network import networks, twins
    from container.training.step import loop

    shape = (224, 224, 3) if name in recipes.APPLICATIONS else (32, 32, 3)
    settings, _ = hyperparameters.parse({"model": name, "epochs": "1000"})
    device = devices.choose(settings, shape, devices.describe_gpus())
    devices.configure(device)
    network = networks.build(name, shape, 10, (0.5, 0.25))
    draw = np.random.default_rng(0)
    count = 2 * settings.batch_size
    data = LabeledImages(
        draw.integers(0, 256, (count, *shape), np.uint8),
        draw.integers(0, 10, count, np.int32),
        tuple(range(10)),
    )
    trainer = loop.Loop(twins.clone_for_training(network, device.precision), data, settings, device)
    trainer.run(0, 0, min(1, rounds), (0.0, 0))
    started = time.perf_counter()
    trainer.run(0, 1, min(1, rounds), (0.0, 0))
    epochs = max(1, round(CALL_S / (time.perf_counter() - started) / 2))
    best_s = float("inf")
    for _ in range(rounds):
        started = time.perf_counter()
        for _ in range(epochs):
            trainer.run(0, 0, 2, (0.0, 0))
        best_s = min(best_s, (time.perf_counter() - started) / epochs / count)
    forward = tf.function(lambda images: network(images, training=False))
    graph = forward.get_concrete_function(tf.TensorSpec([1, *shape], tf.uint8)).graph
    options = tf.compat.v1.profiler.ProfileOptionBuilder.float_operation()
    options["output"] = "none"
    operations = tf.compat.v1.profiler.profile(graph, options=options).total_float_ops
    size = "x".join(map(str, shape[:2]))
    row = (
        f"`{name}` | {size} | {network.count_params() / 1e6:.2f} | {operations / 1e9:.3f} | "
        f"{settings.batch_size}"
    )
    rate = f"{1 / best_s:,.{0 if best_s < 0.01 else 1}f}" if rounds else "-"
    return f"| {row} | {device.precision}, {device.towers} | {rate} |"


def main() -> None:
    """Print the table."""
    from importlib.metadata import version

    from container.training.defaults.recipes import MODELS

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default=",".join(MODELS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print("ROW", measure(options.measure, options.rounds))
        return
    print(f"Python {platform.python_version()}, TensorFlow {version('tensorflow_cpu')}, ", end="")
    print(
        f"{platform.machine()}, {len(os.sched_getaffinity(0))} processors, best of "
        f"n={options.rounds}",
        flush=True,
    )
    print(
        "| `model` | pixels | million parameters | GFLOP forward | batch | arithmetic, towers | "
        "images/s |"
    )
    print("|---|---|---|---|---|---|---|", flush=True)
    for name in options.only.split(","):
        command = [sys.executable, __file__, "--measure", name, "--rounds", str(options.rounds)]
        environ = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"}
        result = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
        if result.returncode:
            sys.exit(f"{name}: {result.stderr}")
        print(
            next(line[4:] for line in result.stdout.splitlines() if line.startswith("ROW ")),
            flush=True,
        )


if __name__ == "__main__":
    main()
