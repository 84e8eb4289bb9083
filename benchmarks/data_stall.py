"""Claim: on real data a step takes at most 1.02 times as long as on a cached batch; streamed, 1.10.

Machine, versions and n are printed; results.md has the results. Run: python
benchmarks/data_stall.py [CSV or CSV.GZ] [--rounds 9] [--images 24000]

24,000 images of MNIST are written as a folder of PNG files and loaded twice: within the memory
budget, and with a budget of nothing, so that they stream from scratch space in five blocks. The
product's own loop trains the bundled CNN, which is the hardest to feed. `constant` is the same
loop, whose every step takes the first batch. The three take turns for n rounds of an epoch; a ratio
is the median of the rounds' own ratios. Decoding happens once, before the first step, and is
reported separately.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
os.environ["TF_ENABLE_ONEDNN_OPTS"] = "1"  # as in a job


def main() -> None:
    """Run the rounds and print a table."""
    import keras
    import tensorflow as tf

    from container import contract
    from container.data import loading, stream
    from container.data.formats.parts import Options
    from container.training import settings as hyperparameters
    from container.training.network import networks, twins
    from container.training.step import device as devices
    from container.training.step import loop

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    mnist = ROOT / "../shared/data/mnist/mnist_train.csv.gz"
    parser.add_argument("data", type=Path, nargs="?", default=mnist)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--images", type=int, default=24_000)
    options = parser.parse_args()
    source, rounds, count = options.data, options.rounds, options.images
    print(f"{platform.machine()}, {len(os.sched_getaffinity(0))} processors, n={rounds}")
    print(
        f"Python {platform.python_version()}, numpy {np.__version__}, TensorFlow {tf.__version__}"
    )
    with tempfile.TemporaryDirectory() as directory:
        layout = contract.Layout(Path(directory))
        layout.channel("csv").mkdir(parents=True)
        (layout.channel("csv") / source.name).symlink_to(source.resolve())
        rows = loading.load(layout.channel("csv"))
        for index, (image, label) in enumerate(
            zip(rows.images[:count], rows.labels[:count], strict=True)
        ):
            path = layout.channel("png") / str(label) / f"{index:05}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image[:, :, 0]).save(path)
        stream.BLOCK_BYTES = 1 << 22  # the set must take several blocks
        sets: dict[str, Any] = {}
        for name, budget_bytes in (("memory", None), ("stream", 0)):
            started = time.perf_counter()
            sets[name] = loading.open_channel(
                layout, contract.Channel("png"), Options(memory_budget_bytes=budget_bytes)
            )
            print(f"{name}: {count:,} PNG files decoded in {time.perf_counter() - started:.2f} s")
        settings, _ = hyperparameters.parse({"epochs": str(rounds + 1), "model": "small_cnn"})
        device = devices.choose(settings, (28, 28, 1), [])
        devices.configure(device)
        loops = {}
        for name in ("constant", "memory", "stream"):
            keras.utils.set_random_seed(0)
            twin = twins.clone_for_training(
                networks.build("small_cnn", (28, 28, 1), 10, (0.13, 0.31), None), device.precision
            )
            loops[name] = loop.Loop(
                twin, sets["memory" if name == "constant" else name], settings, device
            )
        repeat_first_batch(loops["constant"])
        seconds: dict[str, list[float]] = {name: [] for name in loops}
        for round_ in range(rounds + 1):
            for name, trainer in loops.items():
                started = time.perf_counter()
                trainer.run(round_, 0, trainer.steps_per_epoch, (0.0, 0))
                if round_:  # the first round compiles
                    seconds[name].append((time.perf_counter() - started) / trainer.steps_per_epoch)
    print(f"{'data':10}{'ms a step, median':>20}{'best':>8}{'images/s':>10}{'time / constant':>18}")
    for name, times in seconds.items():
        ratio = statistics.median(a / b for a, b in zip(times, seconds["constant"], strict=True))
        median = statistics.median(times)
        print(
            f"{name:10}{median * 1e3:20.3f}{min(times) * 1e3:8.3f}"
            f"{settings.batch_size / median:10.0f}{ratio:18.3f}"
        )


def repeat_first_batch(trainer: Any) -> None:
    """Let every step of a loop take the same images."""
    import dataclasses

    import tensorflow as tf

    whole, size = trainer._source.find_block, trainer.batch_size  # noqa: SLF001 - the step's data
    first = whole(0)
    order = tf.constant(np.tile(np.arange(size, dtype=np.int32), trainer.steps_per_epoch))
    few = {
        "images": tf.identity(first.images[:size]),
        "labels": tf.identity(first.labels[:size]),
        "order": order,
    }

    def find_block(step: int) -> Any:
        begin = step // trainer.steps_per_epoch * trainer.steps_per_epoch
        return dataclasses.replace(
            first, **few, first_step=begin, end_step=begin + trainer.steps_per_epoch
        )

    trainer._source.find_block = find_block  # noqa: SLF001


if __name__ == "__main__":
    main()
