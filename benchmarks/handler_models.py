"""Claim: fifty models with handlers share an endpoint of 4 GB, and memory returns with an unload.

A load takes no longer than starting a process and the model's own `model_fn`; no answer is a 5xx
but 507; two seconds after an unload the memory is back.

Machine: any Linux with namespaces, 4 GB free; the client runs on the same cores. n: MODELS models
of WEIGHTS MB, each loaded, asked REQUESTS times and unloaded, ROUNDS times; loads and starts of a
bare process with the same `model_fn` take turns. Medians and the slowest are printed.

usage: python -m benchmarks.handler_models [--models 50] [--weights 20] [--requests 20] [--rounds 3]
                                            [--memory 4096]
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import http.client
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from local_test.runners import procfs
from local_test.runners.interface import Launch
from local_test.runners.process import ProcessContainer, ProcessRunner

ROOT = Path(__file__).parents[1]
HANDLER = """
import os
import numpy as np

def model_fn(model_dir):
    return np.fromfile(os.path.join(model_dir, "weights"))

def predict_fn(data, model):
    return [float(model[:10].sum())]
"""
BARE = "import sys; sys.path.insert(0, 'code'); import inference; inference.model_fn('.')"
BACK_S = 2.0


class Endpoint:
    """A multi-model endpoint under a memory limit."""

    def __init__(self, base: Path, memory_mb: int) -> None:
        """Start it and wait until it is healthy."""
        runner = ProcessRunner(
            [sys.executable, "-m", "container"], directory=ROOT, memory_bytes=memory_mb << 20
        )
        launch = Launch(
            "algo-1", ("serve",), base, {"SAGEMAKER_MULTI_MODEL": "true"}, is_server=True
        )
        self.log = bytearray()
        self.statuses: collections.Counter[int] = collections.Counter()
        self.container: ProcessContainer = runner.start(launch, self.log.extend)
        while True:
            if self.container.wait(0.05) is not None:
                raise SystemExit(self.log.decode())
            with contextlib.suppress(OSError):
                if self.ask("GET", "/ping") == 200:
                    break
        self.statuses.clear()

    def ask(self, method: str, path: str, body: bytes | None = None) -> int:
        """Send one request; return and count its status."""
        connection = http.client.HTTPConnection(*self.container.address, timeout=120)
        with contextlib.closing(connection):
            connection.request(method, path, body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            answer.read()
        self.statuses[answer.status] += 1
        return answer.status

    def load(self, name: str) -> int:
        """Load a model."""
        order = {"model_name": name, "url": f"/opt/ml/models/{name}/model"}
        return self.ask("POST", "/models", json.dumps(order).encode())

    def count_mb(self) -> float:
        """Return the memory of all processes."""
        return sum(map(procfs.count_own_bytes, self.container.processes())) / 2**20


def write_models(base: Path, count: int, weights_mb: int) -> list[str]:
    """Write the models as the platform unpacks them."""
    names = [f"model-{number:02}" for number in range(count)]
    for name in names:
        root = base / "models" / name / "model"
        (root / "code").mkdir(parents=True)
        (root / "code/inference.py").write_text(HANDLER)
        (root / "weights").write_bytes(bytes(weights_mb << 20))
    return names


def time_bare(root: Path) -> float:
    """Return the seconds of a process that does nothing but `model_fn`."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", BARE], cwd=root, check=True)
    return time.perf_counter() - started


def run_round(endpoint: Endpoint, base: Path, names: list[str], requests: int) -> dict[str, float]:
    """Load, ask and unload all models; return what was measured."""
    loads, bares, asks, unloads, left_mb = [], [], [], [], []
    empty_mb = endpoint.count_mb()
    for name in names:
        started = time.perf_counter()
        if endpoint.load(name) == 200:
            loads.append(time.perf_counter() - started)
        bares.append(time_bare(base / "models" / name / "model"))
    full_mb = endpoint.count_mb()
    for _ in range(requests):
        for name in names:
            started = time.perf_counter()
            endpoint.ask("POST", f"/models/{name}/invoke", b"[1]")
            asks.append(time.perf_counter() - started)
    each_mb = (full_mb - empty_mb) / max(1, len(loads))
    for name in names:
        before_mb = endpoint.count_mb()
        started = time.perf_counter()
        if endpoint.ask("DELETE", f"/models/{name}") != 200:
            continue
        unloads.append(time.perf_counter() - started)
        while endpoint.count_mb() > before_mb - each_mb / 2:
            if time.perf_counter() - started > BACK_S:
                left_mb.append(before_mb - endpoint.count_mb())
                break
            time.sleep(0.01)
    return {
        "loaded models": len(loads),
        "load, s": statistics.median(loads),
        "slowest load, s": max(loads),
        "process start + model_fn, s": statistics.median(bares),
        "invoke, ms": statistics.median(asks) * 1000,
        "unload, s": statistics.median(unloads),
        "slowest unload, s": max(unloads),
        "models whose memory was not back within 2 s": len(left_mb),
        "MB, empty": empty_mb,
        "MB, all loaded": full_mb,
        "MB, after the last unload": endpoint.count_mb(),
    }


def main() -> int:
    """Run the rounds; return 1 if a claim does not hold."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--models", type=int, default=50)
    parser.add_argument("--weights", type=int, default=20, metavar="MB")
    parser.add_argument("--requests", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--memory", type=int, default=4096, metavar="MB")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        base = Path(directory)
        names = write_models(base, options.models, options.weights)
        endpoint = Endpoint(base, options.memory)
        try:
            endpoint.load(names[0])  # starts the process that all others are forked from
            endpoint.ask("DELETE", f"/models/{names[0]}")
            rounds = [
                run_round(endpoint, base, names, options.requests) for _ in range(options.rounds)
            ]
        finally:
            endpoint.container.remove()
    print(f"{options.models} models of {options.weights} MB, {options.memory} MB of memory")
    medians = {name: statistics.median(one[name] for one in rounds) for name in rounds[0]}
    for name, value in medians.items():
        print(f"{name:45} {value:10.3f}")
    print("answers by status:", dict(endpoint.statuses))
    is_held = (
        medians["load, s"] <= medians["process start + model_fn, s"]
        and not medians["models whose memory was not back within 2 s"]
        and not {status for status in endpoint.statuses if status >= 500} - {507}
    )
    print("the claim holds" if is_held else "THE CLAIM DOES NOT HOLD")
    return 0 if is_held else 1


if __name__ == "__main__":
    sys.exit(main())
