"""Claim: two hosts on the same cores take 1.3 times as long as one, and reach the same weights.

Machine, versions and n are printed; results.md has the results. Linux, as root: hosts are network
namespaces. Run: python benchmarks/training_costs.py [CSV or CSV.GZ] [--rounds 3] [--images N]

The product's own jobs on MNIST's training set, its defaults but for `epochs=2`; a cost is that of
the second epoch, by the job's own `images_per_s`, so that nothing is compiled in it. The three
kinds of job take turns for n rounds. Two hosts share each batch of 128 and have one core each, as
one tower of the single host has. Deterministic models are compared byte for byte. Weights of one
host and of two are compared in float32, after `--steps` steps of an epoch.
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
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests/contract")]
BATCH = 128


def make_job(base: Path, images: Path, **values: Any) -> Path:
    """Lay out a job on an array file."""
    (base / "input/config").mkdir(parents=True)
    (base / "input/data/training").mkdir(parents=True)
    (base / "checkpoints").mkdir()
    (base / "input/data/training/images.npz").symlink_to(images)
    (base / "input/config/inputdataconfig.json").write_text(json.dumps({"training": {}}))
    texts = {name: str(value) for name, value in values.items()}
    (base / "input/config/hyperparameters.json").write_text(json.dumps(texts))
    return base


def run_alone(base: Path) -> float:
    """Run a job on one host; give the images/s of its last epoch."""
    environ = {**os.environ, "SAGEMAKER_BASE_DIR": str(base)}
    command = [sys.executable, "-m", "container", "train"]
    result = subprocess.run(
        command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False
    )
    return read_rate(result.returncode, result.stdout + result.stderr)


def run_two(directory: Path, images: Path, **values: Any) -> tuple[float, Path]:
    """Run on two hosts of one core; return the last epoch's images/s and the chief's directory."""
    from test_train_hosts import Network, prepare, wait

    network = Network(2)
    try:
        network.announce()
        bases = {
            name: prepare(
                make_job(directory / name, images, towers=1, threads=1, **values),
                name,
                network.names,
            )
            for name in network.names
        }
        ended = wait(network.start(bases))
    finally:
        network.close()
    chief = min(bases)
    return min(read_rate(*end) for end in ended.values()), bases[chief]


def read_rate(code: int, log: str) -> float:
    """Read the last epoch's images/s from a job's log."""
    if code:
        sys.exit(log)
    return float(re.findall(r"\bimages_per_s=([0-9.e+]+);", log)[-1])


def main() -> None:
    """Run the jobs and print the costs."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "data", type=Path, nargs="?", default=ROOT / "../shared/data/mnist/mnist_train.csv.gz"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--images", type=int, default=60_000)
    options = parser.parse_args()
    from test_train_hosts import load_weights

    from container.data import loading

    print(f"Python {platform.python_version()}, TensorFlow {version('tensorflow_cpu')}, ", end="")
    print(
        f"{platform.machine()}, {len(os.sched_getaffinity(0))} processors, n={options.rounds}",
        flush=True,
    )
    with tempfile.TemporaryDirectory() as scratch:
        base = Path(scratch)
        (base / "csv").mkdir()
        (base / "csv" / options.data.name).symlink_to(options.data.resolve())
        found = loading.load(base / "csv")
        few = options.steps * BATCH
        count = options.images
        np.savez(base / "all.npz", images=found.images[:count], labels=found.labels[:count])
        np.savez(base / "few.npz", images=found.images[:few], labels=found.labels[:few])
        rates: dict[str, list[float]] = {"one host": [], "deterministic": [], "two hosts": []}
        models = set()
        for round_ in range(options.rounds):
            directory = base / str(round_)
            rates["one host"].append(
                run_alone(make_job(directory / "plain", base / "all.npz", epochs=2))
            )
            sure = make_job(directory / "sure", base / "all.npz", epochs=2, deterministic="true")
            rates["deterministic"].append(run_alone(sure))
            models.add((sure / "model/model.tflite").read_bytes())
            rates["two hosts"].append(run_two(directory, base / "all.npz", epochs=2)[0])
        values = {"epochs": 1, "precision": "float32"}
        alone = make_job(base / "alone", base / "few.npz", towers=2, **values)
        run_alone(alone)
        _, chief = run_two(base / "pair", base / "few.npz", **values)
        difference = float(np.abs(load_weights(alone) - load_weights(chief)).max())
    print(f"{'':16}{'images/s, median':>18}{'best':>10}{'step cost':>11}")
    for name, found_rates in rates.items():
        ratio = statistics.median(
            a / b for a, b in zip(rates["one host"], found_rates, strict=True)
        )
        print(
            f"{name:16}{statistics.median(found_rates):18.0f}{max(found_rates):10.0f}{ratio:10.2f}x"
        )
    print(f"deterministic: {options.rounds} runs gave {len(models)} model(s), byte for byte")
    print(
        f"two hosts, {options.steps} steps in float32: no weight differs from one host's by more "
        f"than {difference:.1e}"
    )


if __name__ == "__main__":
    main()
