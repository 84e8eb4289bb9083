"""Claim: a 20 GB data set trains within 2 GB of memory.

Machine and versions are printed; results.md has the results. Run: python
benchmarks/larger_than_memory.py [GB [S]]

A pipe carries GB (20) of CSV in MNIST's shape, made on the fly, into `python -m container train` in
Pipe mode (IN-4): epoch 0 is counted, the others are trained on as they come, and nothing lies on
disk. The memory budget is 200 MB; the job ends with its first epoch or after S (170) seconds,
reading included, and leaves its artifact. Its peak resident memory is what the kernel says of it
afterwards (`ru_maxrss`).
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
ROWS_PER_WRITE = 20_000


def write_rows(directory: Path, target_bytes: float, written: list[int]) -> None:
    """Write `target_bytes` of random rows each epoch; make the next FIFO when one is finished."""
    random = np.random.default_rng(0)
    blocks = []
    for _ in range(8):  # eight blocks in turn: making rows must not be what is measured
        labels = random.integers(0, 10, ROWS_PER_WRITE)
        images = random.integers(100, 200, (ROWS_PER_WRITE, 784))
        marks = labels[:, None] * 70 + np.arange(70)
        images[np.arange(ROWS_PER_WRITE)[:, None], marks] = 255  # something to learn
        rows = np.column_stack([labels, images])
        blocks.append("".join([",".join(map(str, row)) + "\n" for row in rows.tolist()]).encode())
    for epoch in itertools.count():
        fifo = directory / f"train_{epoch}"
        os.mkfifo(fifo)
        with contextlib.suppress(BrokenPipeError), fifo.open("wb") as stream:
            written.append(0)
            while written[epoch] < target_bytes:
                for block in blocks:
                    stream.write(block)
                    written[epoch] += len(block)


def main() -> None:
    """Run the job and print what it took."""
    gigabytes = float(sys.argv[1]) if len(sys.argv) > 1 else 20.0
    seconds = sys.argv[2] if len(sys.argv) > 2 else "170"
    print(
        f"{platform.machine()}, {len(os.sched_getaffinity(0))} processors, Python "
        f"{platform.python_version()}"
    )
    with tempfile.TemporaryDirectory() as directory:
        base = Path(directory)
        (base / "input/config").mkdir(parents=True)
        (base / "input/data").mkdir()
        channel = {
            "TrainingInputMode": "Pipe",
            "ContentType": "text/csv",
            "RecordWrapperType": "None",
        }
        (base / "input/config/inputdataconfig.json").write_text(json.dumps({"train": channel}))
        values = {"memory_budget_mb": "200", "epochs": "1", "max_runtime_s": seconds}
        (base / "input/config/hyperparameters.json").write_text(json.dumps(values))
        written: list[int] = []
        threading.Thread(
            target=write_rows, args=(base / "input/data", gigabytes * 1e9, written), daemon=True
        ).start()
        started = time.perf_counter()
        environ = {**os.environ, "SAGEMAKER_BASE_DIR": str(base), "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            [sys.executable, "-m", "container", "train"], env=environ, cwd=ROOT, check=False
        )
        elapsed = time.perf_counter() - started
        peak_bytes = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
        artifact = (base / "model/model.json").exists()
    end = f"exit {done.returncode}, {'artifact there' if artifact else 'no artifact'}"
    read = " + ".join(f"{count / 1e9:.1f}" for count in written)
    print(f"{read} GB of CSV in {elapsed:.0f} s, peak {peak_bytes / 1e9:.2f} GB, {end}")


if __name__ == "__main__":
    main()
