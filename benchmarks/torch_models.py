"""Claim: torch models are served 3x as fast as by FastAPI, ResNet-50 at 0.95 of its own rate.

And the first 200 comes within 0.4 s of the import of torch. Machine, versions and n are printed;
results.md has the results. The load generator (wrk) runs on the same cores; read ratios. n: the
median of ROUNDS runs of SECONDS each, servers in turns.

usage: python -m benchmarks.torch_models PYTHON [--rounds 3] [--seconds 3] [--only small,resnet50]

PYTHON has torch, fastapi and uvicorn, and what docker/requirements-serve.txt lists. Each network is
served as a `.pt2` without code, by a handler of two functions (by one worker as well, which has all
cores for one client), and by FastAPI with two uvicorn workers of one thread each, which is how it
was fastest; one image a request, as npy. Install `uvicorn[standard]`: without uvloop the sockets of
its workers delay each answer by 40 ms. `itself` is the network in a process of its own with all
cores, and in a process for each core. A `.pt2` also needs `torch.export`, whose import counts.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.handlers import CORES, ONE_THREAD, ROOT, Server, free_port, load, run

TYPE = "application/x-npy"
START_LIMIT_S = 60

_PROGRAM = """
import io
import numpy as np
import torch
from torch import nn

class Residual(nn.Module):
    def __init__(self, before, width, stride):
        super().__init__()
        after = 4 * width
        self.body = nn.Sequential(
            nn.Conv2d(before, width, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
            nn.Conv2d(width, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
            nn.Conv2d(width, after, 1, bias=False), nn.BatchNorm2d(after))
        self.side = nn.Sequential()
        if stride != 1 or before != after:
            self.side = nn.Sequential(
                nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after))
    def forward(self, x):
        return torch.relu(self.body(x) + self.side(x))

def build():
    torch.manual_seed(0)
    if NAME == "small":
        return nn.Sequential(
            nn.Conv2d(1, 16, 3, stride=2), nn.ReLU(), nn.Conv2d(16, 32, 3, stride=2), nn.ReLU(),
            nn.Flatten(), nn.Linear(32 * 36, 10)).eval()
    parts = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(),
             nn.MaxPool2d(3, 2, 1)]
    before = 64
    for stage, (width, blocks) in enumerate(((64, 3), (128, 4), (256, 6), (512, 3))):
        for block in range(blocks):
            parts.append(Residual(before, width, 2 if stage and not block else 1))
            before = 4 * width
    parts += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, 10)]
    return nn.Sequential(*parts).eval()

SHAPE = (1, 1, 28, 28) if NAME == "small" else (1, 3, 224, 224)
"""
_MAKE = """
from program import *
np.save("body.npy", np.random.default_rng(0).random(SHAPE, np.float32))
network = build()
example = torch.zeros((2, *SHAPE[1:]))
batch = {0: torch.export.Dim("batch")}
torch.export.save(torch.export.export(network, (example,), dynamic_shapes=(batch,)), "model.pt2")
"""
_HANDLER = """
from program import *
def model_fn(model_dir):
    return build()
def predict_fn(images, model):
    with torch.inference_mode():
        return model(torch.from_numpy(images)).numpy()
"""
_FASTAPI = """
from fastapi import FastAPI, Request
from program import *
app = FastAPI()
model = build()
torch.set_num_threads(1)
@app.get("/ping")
def ping():
    return {}
@app.post("/invocations")
async def invocations(request: Request):
    images = torch.from_numpy(np.load(io.BytesIO(await request.body())))
    with torch.inference_mode():
        return model(images).tolist()
"""
_ITSELF = """
import sys, time
from program import *
threads, seconds = int(sys.argv[1]), float(sys.argv[2])
torch.set_num_threads(threads)
model, images = build(), torch.from_numpy(np.load("body.npy"))
with torch.inference_mode():
    for _ in range(5):
        model(images)
    count, started = 0, time.perf_counter()
    while time.perf_counter() - started < seconds:
        model(images)
        count += 1
print(count / (time.perf_counter() - started))
"""


def measure_itself(python: str, directory: Path, processes: int, seconds: float) -> float:
    """Return the predictions a second of some processes that share the cores."""
    command = [python, "itself.py", str(CORES // processes), str(seconds)]
    started = [
        subprocess.Popen(command, cwd=directory, stdout=subprocess.PIPE, text=True)
        for _ in range(processes)
    ]
    return sum(float(process.communicate()[0]) for process in started)


def measure_start(python: str, model: Path) -> float:
    """Return the seconds from the start of our server to its first 200 of `/ping`."""
    port = free_port()
    environ = os.environ | {
        "SAGEMAKER_BASE_DIR": str(model.parent),
        "SAGEMAKER_BIND_TO_PORT": str(port),
        "PYTHONPATH": str(ROOT),
    }
    started = time.perf_counter()
    command = [python, "-m", "container", "serve"]
    server = subprocess.Popen(
        command, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    probe = ["curl", "--silent", "--fail", f"http://127.0.0.1:{port}/ping"]
    while subprocess.run(probe, capture_output=True, check=False).returncode:
        if time.perf_counter() - started > START_LIMIT_S or server.poll() is not None:
            server.kill()
            sys.exit(f"{' '.join(command)} did not answer within {START_LIMIT_S} s")
        time.sleep(0.02)
    seconds = time.perf_counter() - started
    server.terminate()
    server.wait()
    return seconds


def measure_import(python: str, module: str) -> float:
    """Return the seconds in which a new process imports a module."""
    started = time.perf_counter()
    subprocess.run([python, "-c", f"import {module}"], check=True)
    return time.perf_counter() - started


def make_servers(name: str, python: str, directory: Path) -> Iterator[Server]:
    """Write the network's programs and the model, and yield its servers."""
    program = f"NAME = {name!r}\n{_PROGRAM}"
    places = {server: directory / server for server in ("pt2", "handler", "fastapi")}
    (places["pt2"] / "model").mkdir(parents=True)
    (places["handler"] / "model/code").mkdir(parents=True)
    places["fastapi"].mkdir()
    for place in (directory, places["handler"] / "model/code", places["fastapi"]):
        (place / "program.py").write_text(program)
    (directory / "itself.py").write_text(_ITSELF)
    subprocess.run([python, "-c", _MAKE], cwd=directory, check=True, stdout=subprocess.DEVNULL)
    (directory / "model.pt2").rename(places["pt2"] / "model/model.pt2")
    (places["handler"] / "model/code/inference.py").write_text(_HANDLER)
    (places["fastapi"] / "server.py").write_text(_FASTAPI)
    body = (directory / "body.npy").read_bytes()
    for server in ("pt2", "handler"):
        environ = {
            "SAGEMAKER_BASE_DIR": str(places[server]),
            "SAGEMAKER_BIND_TO_PORT": "PORT",
            "PYTHONPATH": str(ROOT),
        }
        command = [python, "-m", "container", "serve"]
        yield Server(f"ours, {server}", command, environ, places[server], body, TYPE)
    one = {"SAGEMAKER_MODEL_SERVER_WORKERS": "1"}
    yield Server("ours, one worker", command, environ | one, places["handler"], body, TYPE)
    uvicorn = [python, "-m", "uvicorn", "server:app", "--workers", str(CORES)]
    command = [*uvicorn, "--log-level", "error", "--port", "PORT"]
    yield Server("fastapi", command, ONE_THREAD, places["fastapi"], body, TYPE)


class Measured(NamedTuple):
    """What was measured of a network, apart from its servers' rates."""

    itself: dict[int, list[float]]
    """Predictions a second, by the number of processes."""
    imports: dict[str, list[float]]
    """Seconds, by module."""
    starts: dict[str, list[float]]
    """Seconds to our first 200, by server."""


def measure(
    name: str, python: str, directory: Path, servers: Sequence[Server], asked: argparse.Namespace
) -> Measured:
    """Measure a network in `asked.rounds` rounds; the servers keep their own rates."""
    measured = Measured(
        {1: [], CORES: []}, {"torch": [], "torch.export": []}, {"handler": [], "pt2": []}
    )
    for number in range(asked.rounds):
        print(f"{name}: round {number + 1} of {asked.rounds}", flush=True)
        for processes, rates in measured.itself.items():
            rates.append(measure_itself(python, directory, processes, asked.seconds))
        for server in servers:
            with run(server) as port:
                for connections in (1, 32):
                    load(server, port, connections, asked.seconds)
        for module, times in measured.imports.items():
            times.append(measure_import(python, module))
        for place, times in measured.starts.items():
            times.append(measure_start(python, directory / place / "model"))
    return measured


def show(name: str, servers: Sequence[Server], measured: Measured) -> None:
    """Print the medians of a network."""
    print(f"\n{name}: predictions/s, p50 ms; ours by itself, and by FastAPI's rate")
    itself = {count: statistics.median(rates) for count, rates in measured.itself.items()}
    for processes, rate in itself.items():
        print(f"| itself, {processes} process(es) | {rate:.1f} |")
    limits = {1: itself[1], 32: max(itself.values())}
    for server in servers:
        for connections, rates in server.rates.items():
            rate = statistics.median(rates)
            peer = rate / statistics.median(servers[-1].rates[connections])
            middle = statistics.median(server.middle_ms[connections])
            print(
                f"| {server.name} | c={connections} | {rate:.1f} | {middle:.2f} | "
                f"{rate / limits[connections]:.2f} | {peer:.2f}x |"
            )
    for module, times in measured.imports.items():
        print(f"import of {module}: {statistics.median(times):.2f} s")
    for place, times in measured.starts.items():
        print(f"our first 200, {place}: {statistics.median(times):.2f} s", flush=True)


def main() -> None:
    """Measure each network on each server, in turns, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("python")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--only", default="small,resnet50")
    asked = parser.parse_args()
    python = str(Path(asked.python).absolute())
    version = subprocess.run(
        [python, "-c", "import torch; print(torch.__version__)"],
        capture_output=True,
        text=True,
        check=True,
    )
    print(f"PyTorch {version.stdout.strip()}, Python {platform.python_version()}, n={asked.rounds}")
    with tempfile.TemporaryDirectory() as scratch:
        for name in asked.only.split(","):
            directory = Path(scratch, name)
            servers = list(make_servers(name, python, directory))
            show(name, servers, measure(name, python, directory, servers, asked))


if __name__ == "__main__":
    main()
