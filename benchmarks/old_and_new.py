"""Claim: this checkout is not slower than another: serving, a job, a step, the harness.

Machine, versions and n are printed. Every round measures both checkouts, each first in turn, and
the ratio is the median of the rounds' own. Needs wrk, and real MNIST as CSV.

usage: python -m benchmarks.old_and_new OTHER_CHECKOUT DATA [--rounds 5] [--parts serve,job,harness]

OTHER_CHECKOUT is a `git worktree` of an earlier commit; both run on this Python. DATA holds
mnist_train.csv.gz and mnist_test.csv.gz.
"""

from __future__ import annotations

import argparse
import io
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks import serving, time_to_accuracy

ROOT = Path(__file__).resolve().parents[1]
Sample = dict[str, float]
SECONDS = 2


def run(checkout: Path, *arguments: str, **environ: str) -> str:
    """Run a module or program of a checkout and return what it printed."""
    command = [sys.executable, *arguments]
    variables = {**os.environ, "PYTHONPATH": str(checkout), **environ}
    done = subprocess.run(
        command, cwd=checkout, env=variables, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"{checkout}: {' '.join(command)}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout


def measure_job(checkout: Path, base: Path) -> Sample:
    """Train MNIST for one epoch; return seconds, test accuracy in percent, and memory in MB."""
    time_to_accuracy.ROOT = checkout
    os.environ["PYTHONPATH"] = str(checkout)
    return time_to_accuracy.run_ours(base, seed=1, epochs=1)


def measure_serving(checkout: Path, base: Path) -> Sample:
    """Serve the job's model; return requests a second, by body and connections."""
    peer = serving.Peer(
        "ours",
        lambda port: [
            "/usr/bin/env",
            f"SAGEMAKER_BIND_TO_PORT={port}",
            sys.executable,
            "-m",
            "container",
            "serve",
        ],
        {
            "SAGEMAKER_BASE_DIR": str(base),
            "SAGEMAKER_GUNICORN_LOGLEVEL": "error",
            "PYTHONPATH": str(checkout),
        },
    )
    rows = np.random.default_rng(0).integers(0, 256, (1, 784), np.uint8)
    stream = io.BytesIO()
    np.save(stream, rows)
    bodies = {
        "application/json": serving.make_body("instances", rows),
        "text/csv": ",".join(map(str, rows[0])).encode(),
        "application/x-npy": stream.getvalue(),
    }
    sample = {}
    with serving.start(peer, base / "serve.log") as (port, first_s, process):
        sample["start s"] = first_s
        for content_type, body in bodies.items():
            for connections in (1, 32):
                case = f"{content_type}, {connections} connections"
                before_s = serving.sum_cpu_s(process)
                rate, _, _ = serving.load(
                    port, "/invocations", body, content_type, connections, seconds=SECONDS
                )
                sample[f"{case}, requests/s"] = rate
                used_s = serving.sum_cpu_s(process) - before_s
                sample[f"{case}, processor us a request"] = used_s * 1e6 / (rate * SECONDS)
        sample["memory MB"] = serving.sum_memory_mb(process)
    return sample


def measure_harness(checkout: Path, _: Path) -> Sample:
    """Return what the local SageMaker adds to a job and to an invocation, in ms."""
    output = run(checkout, "-m", "benchmarks.local_test_overhead")
    lines = re.findall(r"^(.*): direct .*, added ([\d.]+) ms", output, re.MULTILINE)
    return {f"{what}, added ms": float(added) for what, added in lines}


def measure_step(checkout: Path, _: Path) -> Sample:
    """Return milliseconds of a training step by network, by the checkout's own script."""
    options = ("--no-keras", "--rounds", "3", "--only", "mnist_convnet,resnet20,resnet50")
    output = run(checkout, "benchmarks/training_step.py", "none", *options)
    lines = re.findall(r"^(\w+), batch \d+\n.*\nours +([\d.]+)", output, re.MULTILINE)
    return {f"{network} step ms": float(ms) for network, ms in lines}


PARTS: dict[str, Callable[[Path, Path], Sample]] = {
    "job": measure_job,
    "serve": measure_serving,
    "harness": measure_harness,
    "step": measure_step,
}


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("other", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--parts", default=",".join(PARTS))
    options = parser.parse_args()
    checkouts = {"old": options.other.resolve(), "new": ROOT}
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    print(
        f"{cpu[1] if cpu else platform.machine()}, {len(os.sched_getaffinity(0))} processors, "
        f"Python {platform.python_version()}, n = {options.rounds} rounds"
    )
    print("| what | old | new | new / old |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as directory:
        bases = {}
        for name, checkout in checkouts.items():
            bases[name] = Path(directory, name)
            time_to_accuracy.prepare(options.data, bases[name])
            measure_job(checkout, bases[name])  # leaves the model that is served
        for part in options.parts.split(","):
            samples: dict[str, list[Sample]] = {"old": [], "new": []}
            for number in range(options.rounds):
                for name in ("old", "new") if number % 2 == 0 else ("new", "old"):
                    samples[name].append(PARTS[part](checkouts[name], bases[name]))
            for what in [what for what in samples["new"][0] if what in samples["old"][0]]:
                old, new = ([sample[what] for sample in samples[name]] for name in ("old", "new"))
                ratios = [after / before for before, after in zip(old, new, strict=True)]
                print(
                    f"| {what} | {statistics.median(old):.4g} | {statistics.median(new):.4g} "
                    f"| {statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f}) |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
