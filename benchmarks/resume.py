"""Claim: a job on a streamed set resumes late in an epoch as fast as it resumes early in one.

Machine, versions and n are printed; results.md has the results. Run: python benchmarks/resume.py
CSV [--rounds 3] [--memory-budget-mb 10]

CSV is a training set such as MNIST's. `python -m container train` streams it (a memory budget of 10
MB) for an epoch of small batches. In turns, n times, a job is stopped by SIGTERM early and late in
the epoch, and resumed from its checkpoint; a job that runs through is the baseline. Reported is the
time from the start of the process to the end of its first steps, and of that the part that begins
with them, by the job's own `phases_s`. If a resumed job replayed the epoch, the late one would take
longer by the time of what it had done.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
STOPS = {"fresh": None, "resumed early": 0.1, "resumed late": 0.8}
FIRST_STEPS = "first steps, traced"


def run(base: Path, stop_after_s: float | None = None) -> str:
    """Run a job, stopped some seconds after its training began; return its output."""
    environ = {**os.environ, "SAGEMAKER_BASE_DIR": str(base), "TF_CPP_MIN_LOG_LEVEL": "2"}
    with subprocess.Popen(
        [sys.executable, "-m", "container", "train"],
        cwd=ROOT,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as job:
        assert job.stdout  # noqa: S101 - for the type checker
        lines = []
        for line in job.stdout:
            lines.append(line)
            if stop_after_s is not None and line.startswith("training small_cnn"):
                time.sleep(stop_after_s)
                job.send_signal(signal.SIGTERM)
    output = "".join(lines)
    if job.returncode:
        sys.exit(output)
    return output


def read_times(base: Path) -> tuple[float, float]:
    """Return seconds from the start of a job to the end of its first steps, and of these steps."""
    history = json.loads((base / "output/data/history.json").read_text())
    begin, end = history[-1]["phases_s"][FIRST_STEPS]
    return end, end - begin


def main() -> None:
    """Run the rounds and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--memory-budget-mb", type=int, default=10)
    options = parser.parse_args()
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    print(
        f"{cpu[1] if cpu else platform.machine()}, {len(os.sched_getaffinity(0))} processors, "
        f"n={options.rounds} rounds"
    )
    print(f"Python {platform.python_version()}, TensorFlow {version('tensorflow_cpu')}")
    found: dict[str, list[tuple[float, float, int]]] = {name: [] for name in STOPS}
    with tempfile.TemporaryDirectory() as scratch:
        base = Path(scratch)
        (base / "input/config").mkdir(parents=True)
        (base / "input/data/training").mkdir(parents=True)
        data = options.data.resolve()
        (base / "input/data/training" / data.name).symlink_to(data)
        values = {"epochs": 1, "batch_size": 16, "memory_budget_mb": options.memory_budget_mb}
        (base / "input/config/hyperparameters.json").write_text(
            json.dumps({name: str(value) for name, value in values.items()})
        )
        (base / "input/config/inputdataconfig.json").write_text(json.dumps({"training": {}}))
        epoch_s = 0.0
        for _ in range(options.rounds):
            for name, share in STOPS.items():
                shutil.rmtree(base / "checkpoints", ignore_errors=True)
                (base / "checkpoints").mkdir()
                if share is not None:
                    run(base, share * epoch_s)
                output = run(base)
                resumed = re.search(r"resumed after (\d+) steps", output)
                trained = re.search(r"trained for ([\d.]+) s", output)
                if share is None and trained:
                    epoch_s = float(trained[1])
                elif resumed is None:
                    sys.exit(f"a job did not resume:\n{output}")
                found[name].append((*read_times(base), int(resumed[1]) if resumed else 0))
    print(f"an epoch takes {epoch_s:.1f} s")
    print(f"{'job':16}{'after steps':>12}{'to its first steps, s':>24}{'these steps, s':>16}")
    for name, times in found.items():
        total, first, steps = (statistics.median(column) for column in zip(*times, strict=True))
        print(f"{name:16}{steps:12.0f}{total:24.2f}{first:16.2f}")


if __name__ == "__main__":
    main()
