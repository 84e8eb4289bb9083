"""Claim: `container train` adds at most 0.3 s to a torchrun job of two hosts, 0 ms to a step.

Machine, versions and n are printed with the results. Baseline, in turns with ours in one run: the
same `torch.distributed.run` commands, started without the container on the same two hosts, which
are two addresses of this machine. A job lasts until both hosts have ended. The first job of each
is not counted. The user's program is DistributedDataParallel by gloo on one thread.

    .venv/bin/python -m benchmarks.torchrun [--jobs 10] [--steps 300]
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
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from pathlib import Path
from typing import Final

from tests.environments import find_packages
from tests.support import ROOT, free_port

HOSTS: Final = ("127.0.0.1", "127.0.0.2")
PROGRAM: Final = """
import argparse, os, time
import torch
from torch import distributed
from torch.nn.parallel import DistributedDataParallel

parser = argparse.ArgumentParser()
parser.add_argument("--steps", type=int)
steps = parser.parse_args().steps
distributed.init_process_group("gloo")
model = DistributedDataParallel(torch.nn.Linear(256, 256))
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
data = torch.randn(32, 256)
started = time.perf_counter()
for _ in range(steps):
    optimizer.zero_grad()
    model(data).square().mean().backward()
    optimizer.step()
print(f"step_ms={(time.perf_counter() - started) / steps * 1e3:.4f};", flush=True)
if distributed.get_rank() == 0:
    torch.save(model.module.state_dict(), os.path.join(os.environ["SM_MODEL_DIR"], "model.pt"))
distributed.destroy_process_group()
os._exit(0)  # PyTorch 2.13 with gloo aborts now and then while it unloads, by itself as well
"""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--jobs", type=int, default=10)
    parser.add_argument("--steps", type=int, default=300)
    options = parser.parse_args()
    print(
        f"machine: {os.cpu_count()} x {platform.processor() or platform.machine()}, Python "
        f"{platform.python_version()}"
    )
    results: dict[str, list[tuple[float, float]]] = {"bare torchrun": [], "container train": []}
    with tempfile.TemporaryDirectory() as directory:
        for number in range(options.jobs + 1):
            for name, launch in (("bare torchrun", run_bare), ("container train", run_ours)):
                results[name].append(launch(Path(directory, f"{name}-{number}"), options.steps))
    medians = []
    for name, measured in results.items():
        job_s, step_ms = (statistics.median(values) for values in zip(*measured[1:], strict=True))
        medians.append((job_s, step_ms))
        print(f"{name}: job {job_s:.3f} s, step {step_ms:.3f} ms (medians, n={options.jobs})")
    (bare_s, bare_ms), (ours_s, ours_ms) = medians
    print(f"added: {ours_s - bare_s:.3f} s a job, {ours_ms - bare_ms:.3f} ms a step")


def run_bare(base: Path, steps: int) -> tuple[float, float]:
    """Run the job by torchrun itself; return its seconds and its milliseconds per step."""
    base.mkdir()
    (base / "train.py").write_text(PROGRAM)
    port = free_port()
    commands = [
        [
            *(sys.executable, "-m", "torch.distributed.run", "--nnodes=2", "--nproc-per-node=1"),
            *(f"--node-rank={rank}", f"--master-addr={HOSTS[0]}", f"--master-port={port}"),
            *(str(base / "train.py"), "--steps", str(steps)),
        ]
        for rank in range(len(HOSTS))
    ]
    variables = {"SM_MODEL_DIR": str(base), "GLOO_SOCKET_IFNAME": "lo"}
    return run(commands, [variables] * len(HOSTS))


def run_ours(base: Path, steps: int) -> tuple[float, float]:
    """Run the job by `container train`; return its seconds and its milliseconds per step."""
    port = free_port()
    variables = []
    for host in HOSTS:
        root = base / host
        (root / "code").mkdir(parents=True)
        (root / "code/train.py").write_text(PROGRAM)
        config = root / "input/config"
        config.mkdir(parents=True)
        asked = {"launcher": "torchrun", "steps": str(steps)}
        resources = {"current_host": host, "hosts": HOSTS, "network_interface_name": "lo"}
        (config / "hyperparameters.json").write_text(json.dumps(asked))
        (config / "resourceconfig.json").write_text(json.dumps(resources))
        variables.append({"SAGEMAKER_BASE_DIR": str(root), "MASTER_PORT": str(port)})
    return run([[sys.executable, "-m", "container", "train"]] * len(HOSTS), variables)


def finish(process: subprocess.Popen[str], processes: Sequence[subprocess.Popen[str]]) -> str:
    """Return a host's output; if the host fails, end the others as SageMaker does."""
    output, _ = process.communicate()
    if process.returncode:
        for other in processes:
            other.terminate()
    return output


def run(
    commands: Sequence[Sequence[str]], variables: Sequence[Mapping[str, str]]
) -> tuple[float, float]:
    """Run the commands of all hosts at once, to the end of the last one."""
    kept = {"PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1", "HOME": tempfile.gettempdir()}
    kept["PYTHONPATH"] = f"{ROOT}:{find_packages('torch')}"
    started = time.perf_counter()
    processes = [
        subprocess.Popen(
            command, env=kept | own, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        for command, own in zip(commands, variables, strict=True)
    ]
    with ThreadPoolExecutor(len(processes)) as threads:
        outputs = list(threads.map(finish, processes, repeat(processes)))
    taken_s = time.perf_counter() - started
    if any(process.returncode for process in processes):
        sys.exit("\n".join(outputs))
    return taken_s, float(re.findall(r"step_ms=([\d.]+);", outputs[0])[0])


if __name__ == "__main__":
    main()
