"""Claim: MNIST's training CSV becomes uint8 arrays faster than by polars, pyarrow or pandas.

Machine, versions and n are printed; results.md has the results. Run: python benchmarks/read_csv.py
[CSV or CSV.GZ] in an environment that has polars, pyarrow and pandas besides numpy; the image has
none of them. The file has a header. Every reader returns labels `[n]` and pixels `[n, 784] uint8`,
checked to be equal. Readers take turns, so that a noisy minute hits all of them; the file is in the
page cache. A ratio is the median of the rounds' own ratios.
"""

from __future__ import annotations

import gzip
import os
import platform
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
ROUNDS = 9
Arrays = tuple[Any, Any]


def read_ours(path: Path) -> Arrays:
    """Read the directory of `path`, as training does."""
    from container.data import loading

    loaded = loading.load(path.parent)
    return np.array(loaded.classes)[loaded.labels], loaded.images.reshape(len(loaded.labels), -1)


def read_polars(path: Path) -> Arrays:
    """Read with every column declared uint8."""
    import polars as pl

    schema = {f"c{i}": pl.UInt8 for i in range(785)}
    values = pl.read_csv(path, has_header=False, skip_rows=1, schema=schema).to_numpy(order="c")
    return values[:, 0], values[:, 1:]


def read_pyarrow(path: Path) -> Arrays:
    """Read with every column declared uint8, then put the columns into one array."""
    import pyarrow as pa
    from pyarrow import csv

    names = [f"c{i}" for i in range(785)]
    table = csv.read_csv(
        path,
        read_options=csv.ReadOptions(column_names=names, skip_rows=1, block_size=1 << 22),
        convert_options=csv.ConvertOptions(column_types=dict.fromkeys(names, pa.uint8())),
    )
    values = np.empty((table.num_rows, 785), np.uint8)
    for i, column in enumerate(table.columns):
        values[:, i] = column.to_numpy()
    return values[:, 0], values[:, 1:]


def read_pandas(path: Path) -> Arrays:
    """Read with the C parser, every column declared uint8."""
    import pandas as pd

    values = pd.read_csv(path, dtype=np.uint8, engine="c").to_numpy()
    return values[:, 0], values[:, 1:]


READERS: dict[str, Callable[[Path], Arrays]] = {
    "ours": read_ours,
    "polars": read_polars,
    "pyarrow": read_pyarrow,
    "pandas": read_pandas,
}


def main() -> None:
    """Run the rounds and print a table."""
    source = (
        Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "../shared/data/mnist/mnist_train.csv.gz"
    )
    print(
        f"{platform.processor() or platform.machine()}, {len(os.sched_getaffinity(0))} processors, "
        f"n={ROUNDS}"
    )
    print(f"Python {platform.python_version()}, numpy {np.__version__}", end="")
    for name in list(READERS)[1:]:
        print(f", {name} {__import__(name).__version__}", end="")
    print()
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "rows.csv")
        opener = gzip.open if source.suffix == ".gz" else open
        with opener(source, "rb") as packed, path.open("wb") as file:
            shutil.copyfileobj(packed, file, 1 << 20)
        expected = read_ours(path)
        seconds: dict[str, list[float]] = {name: [] for name in READERS}
        for round_ in range(ROUNDS + 1):
            for name, read in READERS.items():
                started = time.perf_counter()
                labels, pixels = read(path)
                elapsed = time.perf_counter() - started
                if not round_:  # the first round warms up and checks
                    if not (
                        np.array_equal(labels, expected[0]) and np.array_equal(pixels, expected[1])
                    ):
                        sys.exit(f"{name} reads other values")
                else:
                    seconds[name].append(elapsed)
        megabytes = path.stat().st_size / 1e6
    print(f"{'reader':10}{'median s':>10}{'best s':>10}{'MB/s':>8}{'time / ours':>14}")
    for name, times in seconds.items():
        ratio = statistics.median(
            theirs / ours for theirs, ours in zip(times, seconds["ours"], strict=True)
        )
        median = statistics.median(times)
        print(f"{name:10}{median:10.3f}{min(times):10.3f}{megabytes / median:8.0f}{ratio:14.2f}")


if __name__ == "__main__":
    main()
