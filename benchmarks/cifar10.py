"""Claim: CIFAR-10 from JPEG, more accurate than ResNet-20 by Keras' `fit`, about 5x as fast.

Machine, versions and n are printed; results.md has the results. Run: python benchmarks/cifar10.py
ARCHIVE [--epochs 4] [--seeds 3] [--keras-epochs 16] [--fraction 1]

ARCHIVE is a tar of train/CLASS/NAME.jpg and test/CLASS/NAME.jpg. Ours is the product: `python -m
container train` from process start to exit, with reading, the choice of the network, exports and
evaluation, and no hyperparameters but `seed` and `epochs`; for each number of epochs as many seeds
as `--seeds`. Keras trains ResNet-20 by `fit` with its defaults: arrays in memory, random flips and
shifts by up to 4 pixels as layers, SGD with Nesterov momentum, batch 128, weight decay, a rate that
rises over a quarter of the steps and falls linearly to 0. Its process stays; it trains a part of
its epochs between two of our runs, and its time is that of its epochs only. A ratio is printed only
where ours are at least as accurate in the mean. `--fraction` takes that part of each class, to try
the script.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))


def train_with_keras(folder: Path, epochs: int) -> None:
    """Do as many epochs as each line of the input says; print seconds and test accuracy."""
    import keras
    import numpy as np

    from container.data import loading
    from container.training.network import networks

    train, test = (loading.load(folder / name) for name in ("train", "test"))
    keras.utils.set_random_seed(0)
    core = networks.build("resnet20", (32, 32, 3), 10, (0.4734, 0.2516))
    inputs = keras.Input((32, 32, 3))
    x = keras.layers.RandomFlip("horizontal")(inputs)
    shift = keras.layers.RandomTranslation(
        0.125, 0.125, fill_mode="constant", interpolation="nearest"
    )
    x = shift(x)
    network = keras.Model(inputs, core(x))
    total = epochs * -(-len(train.labels) // 128)
    warm = max(1, total // 4)
    rate = keras.optimizers.schedules.PolynomialDecay(
        0.2, max(1, total - warm), end_learning_rate=0.0
    )

    class Warmup(keras.optimizers.schedules.LearningRateSchedule):  # type: ignore[misc]
        """Rises linearly before it falls."""

        def __call__(self, step: Any) -> Any:
            step = keras.ops.cast(step, "float32")
            return keras.ops.where(step < warm, 0.2 * (step + 1) / warm, rate(step - warm))

    network.compile(
        keras.optimizers.SGD(Warmup(), momentum=0.9, nesterov=True, weight_decay=0.0005),
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    images = train.images.astype(np.float32)
    held = test.images.astype(np.float32)
    print("ready", flush=True)
    for line in sys.stdin:
        started = time.perf_counter()
        network.fit(images, train.labels, batch_size=128, epochs=int(line), verbose=0)
        seconds = time.perf_counter() - started
        accuracy = network.evaluate(held, test.labels, batch_size=500, verbose=0)[1]
        print(seconds, 100 * accuracy, flush=True)


class Keras:
    """The process that trains with Keras, some epochs at a time."""

    def __init__(self, folder: Path, epochs: int) -> None:
        """Start it; `epochs` are those of its schedule."""
        self.left, self.done, self.seconds, self.accuracy = epochs, 0, 0.0, 0.0
        command = [sys.executable, __file__, str(folder), "--with-keras", str(epochs)]
        environ = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"}
        self._process = subprocess.Popen(
            command,
            env=environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        if self._read() != "ready":
            sys.exit("Keras does not train")

    def _read(self) -> str:
        assert self._process.stdout  # noqa: S101 - for the type checker
        return self._process.stdout.readline().strip()

    def train(self, epochs: int) -> None:
        """Train for some epochs of those that are left, and print where that leads."""
        epochs = min(epochs, self.left)
        if not epochs:
            return
        assert self._process.stdin  # noqa: S101 - for the type checker
        print(epochs, file=self._process.stdin, flush=True)
        seconds, self.accuracy = map(float, self._read().split())
        self.left -= epochs
        self.done += epochs
        self.seconds += seconds
        print(
            f"Keras: {self.done} epochs, {self.seconds:.1f} s, test {self.accuracy:.2f} %",
            flush=True,
        )

    def end(self) -> None:
        """End the process."""
        self._process.communicate()


def train_with_ours(folder: Path, seed: int, epochs: int) -> dict[str, float]:
    """Run a job; return its seconds of training and in all, and its accuracy in percent."""
    with tempfile.TemporaryDirectory() as scratch:
        base = Path(scratch)
        (base / "input/config").mkdir(parents=True)
        (base / "input/data").mkdir()
        for channel in ("train", "test"):
            (base / "input/data" / channel).symlink_to(folder / channel)
        (base / "input/config/inputdataconfig.json").write_text(
            json.dumps({"train": {}, "test": {}})
        )
        values = {"seed": str(seed), "epochs": str(epochs)}
        (base / "input/config/hyperparameters.json").write_text(json.dumps(values))
        environ = {**os.environ, "SAGEMAKER_BASE_DIR": str(base)}
        started = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "container", "train"],
            cwd=ROOT,
            env=environ,
            capture_output=True,
            text=True,
            check=False,
        )
        command_s = time.perf_counter() - started
        if done.returncode:
            sys.exit(done.stdout + done.stderr)
        manifest = json.loads((base / "model/model.json").read_text())
    for line in re.findall(r"^(?:model|precision|towers|kernels)\b.*", done.stdout, re.MULTILINE):
        print(f"  {line}")
    return {
        "train_s": manifest["training_time_s"],
        "command_s": command_s,
        "accuracy": 100 * manifest["metrics"]["test_accuracy"],
    }


def unpack(archive: Path, folder: Path, fraction: float) -> None:
    """Unpack the pictures, or the first ones of each class."""
    subprocess.run(["tar", "-xf", str(archive.resolve()), "-C", str(folder)], check=True)
    if fraction >= 1:
        return
    for directory in folder.glob("*/*"):
        names = sorted(directory.iterdir())
        for path in names[max(1, round(fraction * len(names))) :]:
            path.unlink()


def name_cpu() -> str:
    """Return the model of the processor."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    found = (line.partition(": ")[2] for line in lines if line.startswith("model name"))
    return next(found, platform.machine())


def main() -> None:
    """Let both train in turns, and print runs and ratios."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("archive", type=Path)
    parser.add_argument("--epochs", default="4")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--keras-epochs", type=int, default=16)
    parser.add_argument("--fraction", type=float, default=1.0)
    parser.add_argument("--with-keras", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.with_keras:
        train_with_keras(options.archive, options.with_keras)
        return
    numbers = [int(text) for text in options.epochs.split(",")]
    print(f"{name_cpu()}, {len(os.sched_getaffinity(0))} processors, n={options.seeds} seeds")
    print(
        f"Python {platform.python_version()}, TensorFlow {version('tensorflow_cpu')}, "
        f"Keras {version('keras')}, load {os.getloadavg()[0]:.1f}"
    )
    turns = [(epochs, seed) for seed in range(1, options.seeds + 1) for epochs in numbers]
    runs: dict[int, list[dict[str, float]]] = {epochs: [] for epochs in numbers}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        unpack(options.archive, folder, options.fraction)
        theirs = Keras(folder, options.keras_epochs) if options.keras_epochs else None
        for epochs, seed in turns:
            found = train_with_ours(folder, seed, epochs)
            runs[epochs].append(found)
            rounded = {name: round(value, 2) for name, value in found.items()}
            print(f"ours: {epochs} epochs, seed {seed}: {rounded}", flush=True)
            if theirs:
                theirs.train(-(-options.keras_epochs // len(turns)))
        if theirs:
            theirs.end()
    print(f"{'':14}{'test %, mean':>14}{'least':>8}{'training s':>12}{'command s':>11}")
    for epochs, found_runs in runs.items():
        mean = statistics.mean(run["accuracy"] for run in found_runs)
        least = min(run["accuracy"] for run in found_runs)
        train_s = statistics.median(run["train_s"] for run in found_runs)
        command_s = statistics.median(run["command_s"] for run in found_runs)
        print(f"{f'{epochs} epochs':14}{mean:14.2f}{least:8.2f}{train_s:12.1f}{command_s:11.1f}")
        if theirs and mean >= theirs.accuracy:
            ratio = theirs.seconds / train_s
            print(f"  at least as accurate as Keras, which trains {ratio:.1f}x as long")
    if theirs:
        print(
            f"Keras: ResNet-20, {theirs.done} epochs, test {theirs.accuracy:.2f} %, "
            f"{theirs.seconds:.1f} s"
        )


if __name__ == "__main__":
    main()
