"""Claim: one-image requests are 5x as fast as on the best tuned peer, 400x as on the AWS sample.

Machine: everything, the load generator (wrk) included, on the same cores; read ratios. Versions are
printed. n: the median of ROUNDS runs of SECONDS each; the servers take turns, and each runs alone.

usage: serving.py MODEL_DIR CSV.gz --peers DIRECTORY [--rounds 3] [--seconds 3] [--only NAME,...]
       [--parts servers,bodies,transform] [--heavy MODEL_DIR [--runtimes
       litert,openvino,saved_model]]

MODEL_DIR is an artifact of this toolkit; CSV.gz has a header and the label first; DIRECTORY
has a virtual environment for each peer: litserve, mlserver, bentoml, triton (nvidia-pytriton) and
mms (multi-model-server, sagemaker-inference, setuptools<81), each with ai-edge-litert. nginx and
java are on PATH. peers/resnet50.py writes an artifact for --heavy, which is asked through each of
the runtimes; BYO_BATCH_IMAGES=1 or more sets the batches of all.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import http.client
import io
import json
import os
import random
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
ROOT = HERE.parent


@dataclass(frozen=True)
class Peer:
    """How a server is started, and where and with what it is asked."""

    name: str
    command: Callable[[int], list[str]]
    environ: Mapping[str, str]
    health: str = "/ping"
    path: str = "/invocations"
    wrap: str = "instances"


def free_port() -> int:
    """Find a port, with two free ones above it."""
    for port in random.sample(
        range(20_000, 32_000, 8), 1000
    ):  # multi-model-server takes none above 32767
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port
    raise OSError("no free port")


def list_peers(model: Path, peers: Path, pixels: int, scratch: Path) -> list[Peer]:
    """List ours first, then the others."""
    python, here = sys.executable, str(HERE / "peers")
    gunicorn = [
        python,
        "-m",
        "gunicorn",
        "--no-control-socket",
        "--chdir",
        here,
        "--log-level",
        "error",
        "-w",
        "2",
        "-b",
    ]
    base = {
        "MODEL": str(model),
        "PYTHONPATH": here,
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "KERAS_BACKEND": "tensorflow",
    }

    def ours(name: str, **environ: str) -> Peer:
        return Peer(
            name,
            lambda port: [
                "/usr/bin/env",
                f"SAGEMAKER_BIND_TO_PORT={port}",
                python,
                "-m",
                "container",
                "serve",
            ],
            {
                "SAGEMAKER_BASE_DIR": str(model.parent),
                "SAGEMAKER_GUNICORN_LOGLEVEL": "error",
                "PYTHONPATH": str(ROOT),
                **environ,
            },
        )

    def with_nginx(port: int) -> list[str]:
        backend = scratch / "aws.sock"
        (scratch / "nginx.conf").write_text(
            f"daemon off; user root; pid {scratch}/nginx.pid; "
            "error_log stderr; worker_processes auto;"
            "events { worker_connections 2048; }"
            f"http {{ access_log off; client_body_temp_path {scratch}/body; "
            f"proxy_temp_path {scratch}/proxy;"
            f" fastcgi_temp_path {scratch}/f; uwsgi_temp_path {scratch}/u; "
            f"scgi_temp_path {scratch}/s;"
            f" upstream backend {{ server unix:{backend}; }}"
            f" server {{ listen {port}; client_max_body_size 50m;"
            " location / { proxy_pass http://backend; proxy_read_timeout 300s; } } }"
        )
        start = " ".join([*gunicorn, f"unix:{backend}", "-t", "300", "aws_sample:app"])
        return ["bash", "-c", f"{start} & exec nginx -c {scratch}/nginx.conf"]

    def mms(port: int) -> list[str]:
        (scratch / "store").mkdir(exist_ok=True)
        (scratch / "mms.properties").write_text(
            f"inference_address=http://127.0.0.1:{port}\n"
            f"management_address=http://127.0.0.1:{port + 1}\n"
            "default_workers_per_model=2\ndecode_input_request=false\nvmargs=-Xmx256m\n"
        )
        tool = [
            str(peers / "mms/bin/multi-model-server"),
            "--start",
            "--foreground",
            "--model-store",
            str(scratch / "store"),
        ]
        archive = [
            *(
                str(peers / "mms/bin/model-archiver"),
                "--model-name",
                "digits",
                "--model-path",
                str(HERE / "peers/mms"),
            ),
            *("--handler", "handler:handle", "--export-path", str(scratch / "store"), "--force"),
        ]
        subprocess.run(archive, check=True)
        return [
            *tool,
            "--mms-config",
            str(scratch / "mms.properties"),
            "--models",
            "digits=digits.mar",
        ]

    return [
        ours("ours"),
        ours("ours, Flask on gthread", SAGEMAKER_GUNICORN_WORKER_CLASS="gthread"),
        Peer(
            "constant answer, gunicorn ASGI",
            lambda p: [*gunicorn, f"127.0.0.1:{p}", "-k", "asgi", "constant_asgi:app"],
            base,
        ),
        Peer(
            "Flask + LiteRT, gunicorn gthread 2x16",
            lambda p: [
                *gunicorn,
                f"127.0.0.1:{p}",
                "-k",
                "gthread",
                "--threads",
                "16",
                "flask_litert:app",
            ],
            base,
        ),
        Peer("AWS sample (nginx, gunicorn sync, Flask, predict)", with_nginx, base),
        Peer(
            "multi-model-server + sagemaker-inference, LiteRT",
            mms,
            {**base, "PATH": f"{peers}/mms/bin:{os.environ['PATH']}"},
            "/ping",
            "/predictions/digits",
            "rows",
        ),
        Peer(
            "LitServe, LiteRT",
            lambda p: [f"{peers}/litserve/bin/python", f"{here}/litserve_server.py", str(p)],
            base,
            "/health",
        ),
        Peer(
            "MLServer, LiteRT",
            lambda p: [
                "/usr/bin/env",
                f"MLSERVER_HTTP_PORT={p}",
                f"MLSERVER_GRPC_PORT={p + 1}",
                f"MLSERVER_METRICS_PORT={p + 2}",
                f"{peers}/mlserver/bin/mlserver",
                "start",
                f"{here}/mlserver",
            ],
            {
                **base,
                "PYTHONPATH": f"{here}:{here}/mlserver",
                "MLSERVER_PARALLEL_WORKERS": "0",
                "MLSERVER_DEBUG": "false",
            },
            "/v2/health/ready",
            "/v2/models/digits/infer",
            "v2",
        ),
        Peer(
            "BentoML, LiteRT",
            lambda p: [
                f"{peers}/bentoml/bin/bentoml",
                "serve",
                "bentoml_service:Digits",
                "--working-dir",
                here,
                "-p",
                str(p),
            ],
            {**base, "BENTOML_DO_NOT_TRACK": "1"},
            "/readyz",
        ),
        Peer(
            "PyTriton, LiteRT",
            lambda p: [
                f"{peers}/triton/bin/python",
                f"{here}/pytriton_server.py",
                str(p),
                str(pixels),
            ],
            base,
            "/v2/models/digits/ready",
            "/v2/models/digits/infer",
            "triton",
        ),
    ]


def make_body(wrap: str, rows: np.ndarray) -> bytes:
    """Wrap the rows as the peer's protocol wants them."""
    if wrap == "instances":
        return json.dumps({"instances": rows.tolist()}).encode()
    if wrap == "rows":
        return json.dumps(rows.tolist()).encode()
    data = rows.ravel().tolist()
    return json.dumps(
        {"inputs": [{"name": "rows", "shape": list(rows.shape), "datatype": "UINT8", "data": data}]}
    ).encode()


def ask(
    port: int,
    method: str,
    path: str,
    body: bytes | None = None,
    content_type: str = "application/json",
) -> int:
    """Return the status of one request, 0 without an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request(method, path, body, {"Content-Type": content_type})
        answer = connection.getresponse()
        answer.read()
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()
    return answer.status


@contextlib.contextmanager
def start(peer: Peer, log: Path) -> Iterator[tuple[int, float, subprocess.Popen[bytes]]]:
    """Start a server; give its port and the seconds to its first 200."""
    port, begin = free_port(), time.monotonic()
    with log.open("wb") as stream:
        process = subprocess.Popen(
            peer.command(port),
            env={**os.environ, **peer.environ},
            stdout=stream,
            stderr=stream,
            start_new_session=True,
            cwd=log.parent,
        )
    try:
        while ask(port, "GET", peer.health) != 200:
            if process.poll() is not None or time.monotonic() - begin > 90:
                print(f"{peer.name} does not start: {log.read_text()[-800:]}", file=sys.stderr)
                yield 0, 0, process
                return
            time.sleep(0.005)
        yield port, time.monotonic() - begin, process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)


def sum_cpu_s(process: subprocess.Popen[bytes]) -> float:
    """Sum the processor seconds of the server's session; other work does not change them."""
    ticks = 0
    for directory in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, IndexError):
            fields = (directory / "stat").read_text().rsplit(")", 1)[1].split()
            if int(fields[3]) == process.pid:
                ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def sum_memory_mb(process: subprocess.Popen[bytes]) -> float:
    """Sum the proportional memory of all processes of the server's session."""
    total = 0
    for directory in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, IndexError, StopIteration):
            if int((directory / "stat").read_text().rsplit(")", 1)[1].split()[3]) == process.pid:
                lines = (directory / "smaps_rollup").read_text().splitlines()
                total += next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total / 1024


def load(  # noqa: PLR0913, PLR0917 - what wrk needs, in its order
    port: int, path: str, body: bytes, content_type: str, connections: int, seconds: float
) -> tuple[float, float, float]:
    """Return requests per second, and the median and 99th percentile of the latency in ms."""
    with (
        tempfile.NamedTemporaryFile("w", suffix=".lua") as script,
        tempfile.NamedTemporaryFile() as content,
    ):
        content.write(body)
        content.flush()
        script.write(
            f'local f = io.open("{content.name}", "rb")\n'
            'wrk.method = "POST"\nwrk.body = f:read("*a")\nf:close()\n'
            f'wrk.headers["Content-Type"] = "{content_type}"\n'
        )
        script.flush()
        command = [
            "wrk",
            "-t1",
            f"-c{connections}",
            f"-d{seconds:g}s",
            "--timeout",
            "30s",
            "--latency",
            "-s",
            script.name,
            f"http://127.0.0.1:{port}{path}",
        ]
        text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    if "Non-2xx" in text:
        print(text, file=sys.stderr)
    units = {"us": 0.001, "ms": 1, "s": 1000, "m": 60_000}
    percentiles = {
        mark: float(value) * units[unit]
        for mark, value, unit in re.findall(r"(50|99)%\s+([\d.]+)(us|ms|s|m)\b", text)
    }
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", text)[1])  # type: ignore[index]
    return rate, percentiles.get("50", 0), percentiles.get("99", 0)


def main() -> None:
    """Run all and print tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path)
    parser.add_argument("csv", type=Path)
    parser.add_argument("--peers", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--only", default="")
    parser.add_argument("--parts", default="servers,bodies,transform")
    parser.add_argument("--heavy", type=Path)
    parser.add_argument("--runtimes", default="litert")
    options = parser.parse_args()
    rows = np.loadtxt(
        options.csv, delimiter=",", skiprows=1, max_rows=100, dtype=np.uint8, encoding="utf-8"
    )[:, 1:]
    with tempfile.TemporaryDirectory() as directory:
        scratch = Path(directory)
        names = [name.strip() for name in options.only.split(",") if name.strip()]
        peers = [
            peer
            for peer in list_peers(
                options.model.resolve(), options.peers.resolve(), rows.shape[1], scratch
            )
            if not names or any(name in peer.name for name in names)
        ]
        ours = peers[0]
        peers = peers if "servers" in options.parts else []
        table: dict[str, dict[int, list[list[float]]]] = {}
        starts: dict[str, list[tuple[float, float]]] = {}
        for number in range(options.rounds * len(peers)):
            peer = peers[number % len(peers)]
            log = scratch / f"{number}.log"
            # One at a time: some servers keep a core busy while nobody asks.
            with start(peer, log) as (port, first_s, process):
                body = make_body(peer.wrap, rows[:1])
                if not port or [ask(port, "POST", peer.path, body) for _ in range(20)][-1] != 200:
                    print(f"{peer.name}: no prediction: {log.read_text()[-800:]}", file=sys.stderr)
                    continue
                starts.setdefault(peer.name, []).append((first_s, sum_memory_mb(process)))
                for connections in (1, 8, 32):
                    before = sum_cpu_s(process)
                    sample = load(
                        port, peer.path, body, "application/json", connections, options.seconds
                    )
                    cpu_us = (
                        (sum_cpu_s(process) - before) / max(1, sample[0] * options.seconds) * 1e6
                    )
                    table.setdefault(peer.name, {}).setdefault(connections, []).append(
                        [*sample, cpu_us]
                    )
        print(
            "| server | c=1: req/s, p50, p99 ms, CPU us | c=8 | c=32 | first 200 s | memory MB "
            "(PSS) |"
        )
        print("|---|---|---|---|---|---|")
        for name, found in table.items():
            cells = [
                "{:.0f}, {:.2f}, {:.1f}, {:.0f}".format(*take_medians(found[count]))
                for count in (1, 8, 32)
            ]
            print(
                "| {} | {} | {:.2f} | {:.0f} |".format(
                    name, " | ".join(cells), *take_medians(starts[name])
                )
            )
        with start(ours, scratch / "ours.log") as (port, _, _):
            if "bodies" in options.parts:
                print_media_types(port, rows, options)
            if "transform" in options.parts:
                print_transform(port, options)
        sample = next((peer for peer in peers if peer.name.startswith("AWS")), None)
        if sample:
            with start(sample, scratch / "sample.log") as (port, _, _):
                print_sample(port, rows, options)
        if options.heavy:
            print_heavy(options, scratch)


def take_medians(samples: Sequence[Sequence[float]]) -> list[float]:
    """Return the median of each column."""
    return [statistics.median(column) for column in zip(*samples, strict=True)]


def print_media_types(port: int, rows: np.ndarray, options: argparse.Namespace) -> None:
    """Measure ours with other bodies."""
    from PIL import Image

    npy, png = io.BytesIO(), io.BytesIO()
    np.save(npy, rows[:1])
    side = int(rows.shape[1] ** 0.5)
    Image.fromarray(rows[0].reshape(side, side)).save(png, "PNG")
    csv = [",".join(map(str, row)) for row in rows.tolist()]
    bodies = [
        ("CSV, one row", csv[0].encode(), "text/csv"),
        ("npy, one row", npy.getvalue(), "application/x-npy"),
        ("PNG", png.getvalue(), "image/png"),
        ("CSV, 100 rows", "\n".join(csv).encode(), "text/csv"),
    ]
    print("\n| ours | c=1: req/s, p50, p99 ms | c=32 |\n|---|---|---|")
    for name, body, content_type in bodies:
        cells = []
        for connections in (1, 32):
            found = [
                load(port, "/invocations", body, content_type, connections, options.seconds)
                for _ in range(options.rounds)
            ]
            cells.append(
                "{:.0f}, {:.2f}, {:.1f}".format(
                    *[statistics.median(column) for column in zip(*found, strict=True)]
                )
            )
        print(f"| {name} | {' | '.join(cells)} |")
    bare = measure_bare_rate(options.model, options.seconds, len(rows), os.cpu_count() or 1) / len(
        rows
    )
    print(f"| the bare model, {len(rows)} images at once, a process for each core | | {bare:.0f} |")


BARE = """
import sys, time
from pathlib import Path
import numpy as np
from container import artifact, predictor
batch, threads = int(sys.argv[3]), int(sys.argv[4])
model = predictor.load(artifact.load(Path(sys.argv[1])), threads=threads, runtime=sys.argv[5])
images = np.random.default_rng(0).integers(0, 256, (batch, *model.input_shape), np.uint8)
model.predict(images)
print("ready", flush=True)
input()
begin, count = time.perf_counter(), 0
while time.perf_counter() - begin < float(sys.argv[2]):
    model.predict(images)
    count += batch
print(count / (time.perf_counter() - begin))
"""


def measure_bare_rate(
    model: Path, seconds: float, batch: int, processes_count: int, runtime: str = "auto"
) -> float:
    """Return the images per second of the bare model, one process for each share of the cores."""
    threads = max(1, (os.cpu_count() or 1) // processes_count)
    command = [
        sys.executable,
        "-c",
        BARE,
        str(model),
        str(seconds),
        str(batch),
        str(threads),
        runtime,
    ]
    processes = [
        subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(processes_count)
    ]
    for process in processes:
        process.stdout.readline()  # type: ignore[union-attr] # it has loaded the model
    for process in processes:
        process.stdin.write("\n")  # type: ignore[union-attr]
        process.stdin.flush()  # type: ignore[union-attr]
    return sum(float(process.communicate()[0]) for process in processes)


def print_heavy(options: argparse.Namespace, scratch: Path) -> None:
    """Measure single images as npy on a heavy model and on the bare model, by each runtime."""
    shape = json.loads((options.heavy / "model.json").read_text())["input_shape"]
    image = io.BytesIO()
    np.save(image, np.random.default_rng(0).integers(0, 256, (1, *shape), np.uint8))
    runtimes = options.runtimes.split(",")
    ours = list_peers(options.heavy.resolve(), options.peers, 0, scratch)[0]
    samples: dict[tuple[str, str], list[list[float]]] = {}
    for _ in range(options.rounds):
        for runtime in runtimes:
            peer = replace(ours, environ={**ours.environ, "BYO_RUNTIME": runtime})
            with start(peer, scratch / f"{runtime}.log") as (port, _, process):
                for connections in (1, 8):
                    before = sum_cpu_s(process)
                    body, seconds = image.getvalue(), 2 * options.seconds
                    rate, p50_ms, _ = load(
                        port, "/invocations", body, "application/x-npy", connections, seconds
                    )
                    cpu_ms = (sum_cpu_s(process) - before) / max(1.0, rate * seconds) * 1000
                    name = f"ours, {connections} connection{'s' * (connections > 1)}"
                    samples.setdefault((runtime, name), []).append([rate, p50_ms, cpu_ms])
            for batch in (1, 8):
                rate = measure_bare_rate(options.heavy, 2 * options.seconds, batch, 1, runtime)
                samples.setdefault((runtime, f"the bare model, {batch} at once"), []).append(
                    [rate, 1000 * batch / rate, 0]
                )
    print(
        "\n| heavy model, one image as npy | | images/s | of the bare model | p50 ms | CPU ms an "
        "image |"
    )
    print("|---|---|---|---|---|---|")
    for (runtime, name), found in samples.items():
        rate, p50_ms, cpu_ms = take_medians(found)
        bare = take_medians(samples[runtime, "the bare model, 1 at once"])[0]
        cpu = f"{cpu_ms:.1f}" if cpu_ms else ""
        print(f"| {runtime} | {name} | {rate:.1f} | {rate / bare:.2f} | {p50_ms:.0f} | {cpu} |")


def make_transform_bodies(csv: Path) -> list[bytes]:
    """Return 60,000 rows of CSV in bodies of 6 MB."""
    with gzip.open(csv) as stream:
        lines = [line.partition(b",")[2].strip() for line in stream][1:]
    lines = (lines * (60_000 // len(lines) + 1))[:60_000]
    row_bytes = sum(map(len, lines)) // len(lines) + 1
    count = 6 * 1024**2 // row_bytes
    return [b"\n".join(lines[start : start + count]) for start in range(0, len(lines), count)]


def print_sample(port: int, rows: np.ndarray, options: argparse.Namespace) -> None:
    """Measure the AWS sample with many rows in a body."""
    body = "\n".join(",".join(map(str, row)) for row in rows.tolist()).encode()
    print("\n| AWS sample, CSV | |\n|---|---|")
    rate, p50_ms, p99_ms = load(port, "/invocations", body, "text/csv", 32, 2 * options.seconds)
    print(
        f"| {len(rows)} rows, 32 connections: req/s, p50, p99 ms | {rate:.1f}, {p50_ms:.1f}, "
        f"{p99_ms:.1f} |"
    )
    bodies = make_transform_bodies(options.csv)
    with ThreadPoolExecutor(4) as pool:
        begin = time.perf_counter()
        statuses = list(
            pool.map(lambda body: ask(port, "POST", "/invocations", body, "text/csv"), bodies)
        )
        rate = 60_000 * statuses.count(200) / len(statuses) / (time.perf_counter() - begin)
    print(
        f"| transform of 60,000 rows, 4 requests at once: rows/s; statuses | {rate:.0f}; "
        f"{set(statuses)} |"
    )


def print_transform(port: int, options: argparse.Namespace) -> None:
    """Measure a transform job of 60,000 rows, as CSV in and out."""
    bodies = make_transform_bodies(options.csv)

    def send(body: bytes) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        connection.request(
            "POST", "/invocations", body, {"Content-Type": "text/csv", "Accept": "text/csv"}
        )
        rows = connection.getresponse().read().count(b"\n")
        connection.close()
        return rows

    print(
        "\n| transform of 60,000 rows, concurrent requests | rows/s | of the bare model |\n|---|"
        "---|---|"
    )
    bare = measure_bare_rate(options.model, options.seconds, 1000, os.cpu_count() or 1)
    for concurrency in (1, 2, 4):
        with ThreadPoolExecutor(concurrency) as pool:
            begin = time.perf_counter()
            answered = sum(pool.map(send, bodies))
            rate = answered / (time.perf_counter() - begin)
        print(f"| {concurrency} | {rate:.0f} | {rate / bare:.2f} |")
    print(f"| the bare model, a process for each core | {bare:.0f} | 1 |")


if __name__ == "__main__":
    main()
