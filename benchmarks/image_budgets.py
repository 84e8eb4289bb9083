"""Claim: over their base, the CPU image is at most 1.15 GB and the serving image at most 260 MB.

The CPU image is at most 400 MB compressed; inside its container the server answers its first /ping
within 1.5x of the bare program's time. What the image with PyTorch adds to PyTorch and the packages
that it requires is at most 150 MB.

    python -m benchmarks.image_budgets BASE CPU_IMAGE SERVE_IMAGE [TORCH_IMAGE] [--sizes | --record]

Protocol: sizes are what the engine reports, minus the base's; compressed is the sum of the layers,
gzip level 6, as a registry keeps them. Starts are the median of n = 9, bare program, container and
base in turn, from the start of the command to the first 200, polled every 5 ms. A container's start
has two shares: the engine's, until the moment that it notes as the start of the process, which a
container of the base that does nothing has too; and the program's, from there. On the host's
network the engine has none to make. Imports are the median of 5 inside the image. Resident memory
is the proportional set size of all processes of the serving container after one request. Prints a
table beside the last recorded release, and ends with 1 if a size is over its budget; times depend
on the machine and end nothing. `--sizes` measures nothing else, as CI does.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import socket
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
import zlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import IO

from tests.image.engine import (
    docker,
    exit_code,
    read_test_rows,
    request,
    running,
    wait_until_healthy,
    write_job,
)
from tests.support import ROOT

RECORD = Path(__file__).with_suffix(".json")
RUNS, STARTS = 5, 9
BIND_TO_PORT = "SAGEMAKER_BIND_TO_PORT"
# Name of the figure: budget. The sizes are a promise; the rest is watched.
BUDGETS = {
    "cpu uncompressed MB": 1150,
    "cpu compressed MB": 400,
    "serve uncompressed MB": 260,
    "torch uncompressed MB": 1150,
    "torch compressed MB": 400,
    "torch without PyTorch MB": 150,
    "serve start / bare start": 1.5,
    "program's share / bare start": 1.5,
}
PROMISED = tuple(name for name in BUDGETS if name.endswith(" MB"))
# Inside the image: the bytes of PyTorch and of all that it requires.
COUNT_TORCH = """
from importlib import metadata
from pathlib import Path
from pip._vendor.packaging.requirements import Requirement
names, queue = set(), ["torch"]
while queue:
    name = queue.pop()
    if name not in names:
        names.add(name)
        wanted = map(Requirement, metadata.requires(name) or ())
        queue += [it.name for it in wanted if not it.marker or it.marker.evaluate({"extra": ""})]
site = Path(metadata.distribution("torch").locate_file(""))
tops = {file.parts[0] for name in names for file in metadata.files(name)} - {".."}
paths = [path for top in tops for path in (site / top, *(site / top).rglob("*"))]
print("counted", sum(path.lstat().st_size for path in paths if path.is_file()))
"""


def main() -> int:
    """Measure, print, and record if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("base")
    parser.add_argument("cpu")
    parser.add_argument("serve")
    parser.add_argument("torch", nargs="?", help="the CPU image with FRAMEWORK=torch")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--sizes", action="store_true", help="measure the promised sizes only")
    what.add_argument(
        "--record", action="store_true", help="keep these figures as the last release's"
    )
    options = parser.parse_args()

    images = {"cpu": options.cpu, "serve": options.serve}
    figures = measure_sizes(options.base, images)
    if options.torch:
        figures |= measure_torch(options.base, options.torch)
    if not options.sizes:
        figures |= measure_times(options.base, images)
    recorded = json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.exists() else {}
    print(f"{'figure':32} {'budget':>9} {'released':>9} {'now':>9}")
    for name, value in figures.items():
        print(
            f"{name:32} {show(BUDGETS.get(name)):>9} {show(recorded.get(name)):>9} {show(value):>9}"
        )
    if options.record:
        RECORD.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    over = [name for name in PROMISED if figures.get(name, 0) > BUDGETS[name]]
    if over:
        print(f"over budget: {', '.join(over)}", file=sys.stderr)
    return 1 if over else 0


def show(value: float | None) -> str:
    """Write a figure, or a dash where there is none."""
    return "-" if value is None else f"{value:.3g}" if value < 100 else f"{value:.0f}"


def train(image: str, base: Path) -> Path:
    """Return `/opt/ml` after a short job on digits."""
    write_job(base, {"epochs": "2"})
    with running(image, "train", options=("--volume", f"{base}:/opt/ml")) as container:
        code = exit_code(container)
        if code:
            sys.exit(docker("logs", container))
    return base


def measure_sizes(base: str, images: Mapping[str, str]) -> dict[str, float]:
    """Measure the sizes of several images at once; compressing takes most of the time."""
    with ThreadPoolExecutor() as pool:
        sizes = pool.map(lambda image: measure_size(base, image), images.values())
    return {
        f"{kind} {name}": value
        for kind, size in zip(images, sizes, strict=True)
        for name, value in size.items()
    }


def measure_torch(base: str, image: str) -> dict[str, float]:
    """Measure the image with PyTorch, and what it adds to PyTorch."""
    figures = measure_sizes(base, {"torch": image})
    counted = docker("run", "--rm", image, "python", "-c", COUNT_TORCH)
    own_bytes = int(counted.rpartition("counted ")[2])
    rest = figures["torch uncompressed MB"] - own_bytes / 1e6
    return figures | {"torch without PyTorch MB": rest}


def measure_times(base: str, images: Mapping[str, str]) -> dict[str, float]:
    """Measure memory, imports and starts, with the model of a short job."""
    figures = {}
    with tempfile.TemporaryDirectory() as directory:
        job = train(images["cpu"], Path(directory) / "ml")
        for kind, image in images.items():
            figures[f"{kind} resident MB"] = measure_resident_mb(image, job)
        figures["cpu import tensorflow s"] = measure_import_s(images["cpu"], "tensorflow")
        figures["serve import server s"] = measure_import_s(
            images["serve"], "container.serving.server"
        )
        return figures | measure_starts(base, images["serve"], job)


def measure_size(base: str, image: str) -> dict[str, float]:
    """Measure what an image adds to its base: MB, MB compressed, layers."""
    inspected = {name: json.loads(docker("inspect", name))[0] for name in (base, image)}
    own = set(inspected[image]["RootFS"]["Layers"]) - set(inspected[base]["RootFS"]["Layers"])
    compressed_bytes = 0
    process = subprocess.Popen(["docker", "save", image], stdout=subprocess.PIPE)
    with process, tarfile.open(fileobj=process.stdout, mode="r|") as archive:
        for member in archive:
            file = archive.extractfile(member)
            digest, size_bytes = compress(file) if file else ("", 0)
            compressed_bytes += size_bytes if digest in own else 0
    return {
        "uncompressed MB": (inspected[image]["Size"] - inspected[base]["Size"]) / 1e6,
        "compressed MB": compressed_bytes / 1e6,
        "layers": len(own),
    }


def compress(file: IO[bytes]) -> tuple[str, int]:
    """Return a file's digest, which names a layer in the engine, and its gzipped size in bytes."""
    digest, compressor, size_bytes = hashlib.sha256(), zlib.compressobj(6), 0
    while chunk := file.read(1 << 20):
        digest.update(chunk)
        size_bytes += len(compressor.compress(chunk))
    return f"sha256:{digest.hexdigest()}", size_bytes + len(compressor.flush())


def measure_import_s(image: str, module: str) -> float:
    """Measure one import inside an image."""
    script = (
        f"import time; start = time.perf_counter(); import {module}; print('took', "
        f"time.perf_counter() - start)"
    )
    outputs = [docker("run", "--rm", image, "python", "-c", script) for _ in range(RUNS)]
    return statistics.median(float(output.rpartition("took ")[2].split()[0]) for output in outputs)


def measure_resident_mb(image: str, job: Path) -> float:
    """Measure the proportional set size of a server's processes, after one request."""
    with running(image, "serve", options=serve_options(job)) as container:
        url = wait_until_healthy(container)
        request(f"{url}/invocations", read_test_rows(job))
        pids = [
            int(line) for line in docker("top", container, "-eo", "pid").split() if line.isdecimal()
        ]
        rollups = [Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8") for pid in pids]
    return (
        sum(
            int(line.split()[1])
            for text in rollups
            for line in text.splitlines()
            if line.startswith("Pss:")
        )
        / 1e3
    )


def measure_starts(base: str, image: str, job: Path) -> dict[str, float]:
    """Return the seconds from command to first 200: the bare program and the container in turns."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url, options, mount = (
        f"http://127.0.0.1:{port}",
        serve_options(job, port),
        serve_options(job)[:2],
    )
    environ = {**os.environ, "SAGEMAKER_BASE_DIR": str(job), BIND_TO_PORT: str(port)}
    bare, idle, engine, program, host_network = [], [], [], [], []
    for _ in range(STARTS):
        start = time.time()
        command = [sys.executable, "-m", "container", "serve"]
        process = subprocess.Popen(
            command, cwd=ROOT, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        bare.append(wait_for_ping(url) - start)
        process.terminate()
        process.wait()
        start = time.time()
        with running(
            image, "serve", options=(*mount, "--network", "host", "--env", f"{BIND_TO_PORT}={port}")
        ):
            host_network.append(wait_for_ping(url) - start)
        start = time.time()
        with running(image, "serve", options=options) as container:
            answered, started = wait_for_ping(url), process_start(container)
        engine.append(started - start)
        program.append(answered - started)
        start = time.time()
        with running(base, options=(*options, "--entrypoint", "/bin/true")) as container:
            idle.append(process_start(container) - start)
    starts = [sum(shares) for shares in zip(engine, program, strict=True)]
    return {
        "bare start s": statistics.median(bare),
        "serve start s": statistics.median(starts),
        "serve start s, engine's share": statistics.median(engine),
        "serve start s, program's share": statistics.median(program),
        "serve start s, host network": statistics.median(host_network),
        "base start s, /bin/true": statistics.median(idle),
        "serve start / bare start": statistics.median(
            there / here for there, here in zip(starts, bare, strict=True)
        ),
        "host network start / bare start": statistics.median(
            there / here for there, here in zip(host_network, bare, strict=True)
        ),
        "program's share / bare start": statistics.median(
            there / here for there, here in zip(program, bare, strict=True)
        ),
    }


def process_start(container: str) -> float:
    """Return when the engine started a container's process, in seconds since 1970."""
    return datetime.fromisoformat(
        docker("inspect", "--format", "{{.State.StartedAt}}", container).strip()
    ).timestamp()


def serve_options(job: Path, port: int | None = None) -> tuple[str, ...]:
    """Return the engine's options for a server on a job's artifact, published at `port` or any."""
    return (
        "--volume",
        f"{job}/model:/opt/ml/model:ro",
        "--publish",
        f"127.0.0.1:{port or ''}:8080",
    )


def wait_for_ping(url: str) -> float:
    """Return the moment of the first 200, in seconds since 1970: the engine's clock."""
    deadline = time.time() + 60
    while time.time() < deadline:
        if request(f"{url}/ping", timeout_s=2)[0] == 200:
            return time.time()
        time.sleep(0.005)
    sys.exit(f"{url}/ping does not answer 200")


if __name__ == "__main__":
    sys.exit(main())
