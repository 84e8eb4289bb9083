"""Claim: batches from tf.data over indices and batches gathered in the loop take the same time.

Machine, versions and n are printed; results.md has the results. Run: python
benchmarks/gather_or_pipeline.py [--rounds N] [--steps N]

60,000 random images of 28x28 are in memory. A step is the gradient of a small CNN on 128 of them.
Both ways run the same steps in one call of one compiled loop, with the same order of images, in
turns for n rounds: `gather` takes a batch by index from the tensor; `pipeline` calls `next` on a
dataset over the rows of indices, which gathers in a private thread and prefetches two batches,
without the autotuner. A ratio is the median of the rounds' own ratios.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
os.environ["TF_ENABLE_ONEDNN_OPTS"] = "1"  # as in a job
BATCH = 128


def main() -> None:
    """Run the rounds and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--steps", type=int, default=300)
    arguments = parser.parse_args()

    import tensorflow as tf

    from container.training.input.pipeline import make_options

    print(f"{platform.machine()}, {len(os.sched_getaffinity(0))} processors, n={arguments.rounds}")
    print(f"Python {platform.python_version()}, TensorFlow {tf.__version__}")
    chance = np.random.default_rng(0)
    images = tf.constant(chance.integers(0, 256, (60_000, 28, 28, 1), np.uint8))
    labels = tf.constant(chance.integers(0, 10, 60_000).astype(np.int32))
    order = chance.integers(0, 60_000, (arguments.steps, BATCH)).astype(np.int32)

    def gather(rows: Any) -> tuple[Any, Any]:
        return tf.gather(images, rows), tf.gather(labels, rows)

    dataset = tf.data.Dataset.from_tensor_slices(order)
    dataset = dataset.map(gather, num_parallel_calls=1).prefetch(2).with_options(make_options(1))
    steps = tf.constant(arguments.steps)
    step = make_step()

    @tf.function
    def run_gather(rows: Any) -> Any:
        loss = tf.constant(0.0)
        for number in tf.range(steps):
            loss += step(*gather(tf.ensure_shape(rows[number], [BATCH])))
        return loss

    @tf.function
    def run_pipeline(iterator: Any) -> Any:
        loss = tf.constant(0.0)
        for _ in tf.range(steps):
            loss += step(*next(iterator))
        return loss

    rows = tf.constant(order)
    ways: dict[str, Callable[[], Any]] = {
        "gather": lambda: run_gather(rows),
        "pipeline": lambda: run_pipeline(iter(dataset)),
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(arguments.rounds + 1):
        for name, way in ways.items():
            started = time.perf_counter()
            float(way())
            if number:  # the first round compiles
                times[name].append((time.perf_counter() - started) / arguments.steps)
    print(f"{'batches':10}{'ms a step, median':>20}{'best':>8}{'time / gather':>16}")
    for name, found in times.items():
        ratio = statistics.median(a / b for a, b in zip(found, times["gather"], strict=True))
        median = statistics.median(found)
        print(f"{name:10}{median * 1e3:20.3f}{min(found) * 1e3:8.3f}{ratio:16.3f}")


def make_step() -> Callable[[Any, Any], Any]:
    """Return a function that updates a small CNN and returns the loss."""
    import keras
    import tensorflow as tf

    network = keras.Sequential(
        [
            keras.layers.Input((28, 28, 1)),
            keras.layers.Conv2D(32, 3, activation="relu"),
            keras.layers.MaxPooling2D(2),
            keras.layers.Conv2D(64, 3, activation="relu"),
            keras.layers.MaxPooling2D(2),
            keras.layers.Flatten(),
            keras.layers.Dense(10),
        ]
    )
    variables = [variable.value for variable in network.trainable_variables]

    def step(images: Any, labels: Any) -> Any:
        with tf.GradientTape() as tape:
            logits = network(tf.cast(images, tf.float32) / 255, training=True)
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
            loss = tf.reduce_mean(losses)
        for variable, gradient in zip(variables, tape.gradient(loss, variables), strict=True):
            variable.assign_sub(0.01 * gradient)
        return loss

    return step


if __name__ == "__main__":
    main()
