"""Claim: a killed worker loses only what it held, for at most 2 s; a stop loses no request.

Besides: memory stays over a million requests; while every worker predicts for 20 s, pings take less
than 250 ms.

Machine: any; everything, the clients included, runs on the same cores. n: KILLS kills, STOPS stops,
REQUESTS requests by wrk, every ping within one prediction of 20 s, which is a busy loop in Python:
the worst for the event loop beside it.

usage: python -m benchmarks.serving_faults MODEL_DIR [--kills 5] [--stops 5] [--requests 1000000]
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import io
import itertools
import json
import os
import platform
import re
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks import toolkit_server

CLIENTS = 16
HANDLERS = """
import time

def model_fn(model_dir):
    return None

def predict_fn(data, model):
    end = time.monotonic() + 20
    while time.monotonic() < end:
        pass
    return data
"""


class Server:
    """A running server with two workers."""

    def __init__(self, base: Path, **environ: str) -> None:
        """Start it and wait until both workers serve."""
        options = {"SAGEMAKER_MODEL_SERVER_WORKERS": "2", "SAGEMAKER_GUNICORN_LOGLEVEL": "critical"}
        self.process, self.port = toolkit_server.start(base, **{**options, **environ})
        wait_until(lambda: len(self.workers()) == 2 and all(accepts(pid) for pid in self.workers()))
        wait_until(lambda: self.ask("GET", "/ping", b"", "") == 200)

    def workers(self) -> list[int]:
        """List the master's children."""
        return toolkit_server.list_workers(self.process)

    def ask(self, method: str, path: str, body: bytes, content_type: str) -> int:
        """Return the status of one request on a connection of its own, 0 without an answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, body, {"Content-Type": content_type})
            answer = connection.getresponse()
            answer.read()
        except OSError:
            return 0
        finally:
            connection.close()
        return answer.status

    def stop(self) -> None:
        """Stop it and wait for its end."""
        self.process.terminate()
        self.process.wait(60)


def accepts(pid: int) -> bool:
    """Return whether a worker accepts: its epoll set also holds the listening socket."""
    with contextlib.suppress(OSError):
        for link in Path(f"/proc/{pid}/fd").iterdir():
            if str(link.readlink()) == "anon_inode:[eventpoll]":
                return Path(f"/proc/{pid}/fdinfo/{link.name}").read_text().count("tfd:") > 2
    return False


def wait_until(condition: Callable[[], bool]) -> float:
    """Poll; give the seconds that it took."""
    start = time.monotonic()
    while not condition():
        if time.monotonic() - start > 60:
            message = "not in time"
            raise TimeoutError(message)
        time.sleep(0.002)
    return time.monotonic() - start


class Client(threading.Thread):
    """Asks on one connection as fast as it is answered, and opens another when that one breaks."""

    def __init__(self, port: int, request: bytes) -> None:
        """Not yet started."""
        super().__init__(daemon=True)
        self.port, self.request = port, request
        self.answered = self.lost = self.not_accepted = 0
        self.stopped = False

    def run(self) -> None:
        """Send requests until asked to stop."""
        while not self.stopped:
            try:
                connection = socket.create_connection(("127.0.0.1", self.port), timeout=60)
            except OSError:
                self.not_accepted += 1
                time.sleep(0.01)
                continue
            with (
                connection,
                connection.makefile("rb") as stream,
                contextlib.suppress(ConnectionError),
            ):
                while not self.stopped and self._ask(connection, stream):
                    pass

    def _ask(self, connection: socket.socket, stream: io.BufferedReader) -> bool:
        """Send one request; return whether the connection stays open."""
        try:
            connection.sendall(self.request)
            if not stream.readline().startswith(b"HTTP/1.1 200"):
                self.lost += 1
                return False
            head = dict(
                line.decode().strip().lower().split(": ", 1)
                for line in iter(stream.readline, b"\r\n")
            )
            body = stream.read(int(head["content-length"]))
            json.loads(body)
        except (OSError, ValueError, KeyError):
            self.lost += 1
            return False
        self.answered += 1
        return head["connection"] != "close"


@contextlib.contextmanager
def clients(port: int, request: bytes) -> Iterator[list[Client]]:
    """Let clients ask until the context ends."""
    asking = [Client(port, request) for _ in range(CLIENTS)]
    for client in asking:
        client.start()
    wait_until(lambda: min(client.answered for client in asking) > 20)
    yield asking
    for client in asking:
        client.stopped = True
    for client in asking:
        client.join()


def print_kills(base: Path, request: bytes, kills: int) -> None:
    """Kill workers under load."""
    print(
        "| kill -9 of one of 2 workers, 16 clients | lost | not accepted | answered | whole again "
        "after |"
    )
    print("|---|---|---|---|---|")
    server = Server(base)
    for number in range(kills):
        with clients(server.port, request) as asking:
            victim = server.workers()[number % 2]
            os.kill(victim, signal.SIGKILL)
            seconds = wait_until(
                lambda: (
                    victim not in server.workers()  # noqa: B023
                    and len(server.workers()) == 2
                    and all(accepts(pid) for pid in server.workers())
                )
            )
            counts = [client.answered for client in asking]
            wait_until(
                lambda: all(
                    client.answered > count + 20
                    for client, count in zip(asking, counts, strict=True)  # noqa: B023
                )
            )
        sums = [
            sum(getattr(client, name) for client in asking)
            for name in ("lost", "not_accepted", "answered")
        ]
        print(f"| {number + 1} | {sums[0]} | {sums[1]} | {sums[2]} | {seconds:.2f} s |", flush=True)
    server.stop()


def print_stops(base: Path, request: bytes, stops: int) -> None:
    """Stop servers under load."""
    print(
        "\n| SIGTERM, 16 clients | lost of what was accepted | answered | exit status | ended "
        "after |"
    )
    print("|---|---|---|---|---|")
    for number in range(stops):
        server = Server(base)
        with clients(server.port, request) as asking:
            start = time.monotonic()
            server.process.terminate()
            status = server.process.wait(60)
            seconds = time.monotonic() - start
        sums = [sum(getattr(client, name) for client in asking) for name in ("lost", "answered")]
        print(f"| {number + 1} | {sums[0]} | {sums[1]} | {status} | {seconds:.2f} s |", flush=True)


def print_memory(base: Path, rows: np.ndarray, requests: int) -> None:
    """Send requests of six kinds, two of them refused, by wrk; print memory in steps."""
    side = int(rows.shape[1] ** 0.5)
    npy, png = io.BytesIO(), io.BytesIO()
    np.save(npy, rows)
    Image.fromarray(rows[0].reshape(side, side)).save(png, "PNG")
    csv = b"\n".join(b",".join(b"%d" % pixel for pixel in row) for row in rows.tolist())
    kinds = [
        ("text/csv", csv),
        ("application/json", json.dumps({"instances": rows[:1].tolist()}).encode()),
        ("application/x-npy", npy.getvalue()),
        ("image/png", png.getvalue()),
        ("text/csv", b"1,2,3"),
        ("text/plain", b"what is this?"),
    ]
    server = Server(base)
    print("\n| requests | memory of master and workers, MB (RSS) |\n|---|---|")
    with tempfile.TemporaryDirectory() as directory:
        lines = ["local requests, turn = {}, 0"]
        for number, (content_type, body) in enumerate(kinds):
            (Path(directory) / str(number)).write_bytes(body)
            lines.append(
                f'requests[{number + 1}] = wrk.format("POST", "/invocations", '
                f'{{["Content-Type"] = "{content_type}"}},'
                f' io.open("{directory}/{number}", "rb"):read("*a"))'
            )
        # wrk knows the host only when a thread starts.
        script = [lines[0], "function init()", *lines[1:], "end"]
        script.append(
            f"function request() turn = turn % {len(kinds)} + 1; return requests[turn] end"
        )
        (Path(directory) / "mixed.lua").write_text("\n".join(script))
        sent = 0
        for _ in itertools.count():
            command = [
                "wrk",
                "-t1",
                "-c32",
                "-d10s",
                "-s",
                f"{directory}/mixed.lua",
                f"http://127.0.0.1:{server.port}",
            ]
            text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            errors = re.findall(r"Socket errors.*", text)
            sent += int(re.search(r"(\d+) requests in", text)[1])  # type: ignore[index]
            sizes = [resident_mb(pid) for pid in (server.process.pid, *server.workers())]
            print(
                f"| {sent} | {sum(sizes):.1f} ({', '.join(f'{size:.1f}' for size in sizes)}) "
                f"{errors or ''} |",
                flush=True,
            )
            if sent >= requests:
                break
    server.stop()


def resident_mb(pid: int) -> float:
    """Return a process's resident memory."""
    return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1]) / 1024  # type: ignore[index]


def print_pings(directory: Path) -> None:
    """Keep both workers busy for 20 s; time pings and refusals meanwhile."""
    (directory / "model/code").mkdir(parents=True)
    (directory / "model/code/inference.py").write_text(HANDLERS)
    server = Server(directory, BYO_QUEUE_REQUESTS="1")
    statuses: list[int] = []
    slow = [
        threading.Thread(
            target=lambda: statuses.append(
                server.ask("POST", "/invocations", b"[1]", "application/json")
            )
        )
        for _ in range(2)
    ]
    for thread in slow:
        thread.start()
        time.sleep(0.5)
    pings, refusals = [], []
    while all(thread.is_alive() for thread in slow):
        start = time.monotonic()
        status = server.ask("GET", "/ping", b"", "")
        pings.append((time.monotonic() - start, status))
        if len(pings) % 20 == 0:
            start = time.monotonic()
            status = server.ask("POST", "/invocations", b"[1]", "application/json")
            refusals.append((time.monotonic() - start, status))
        time.sleep(0.01)
    for thread in slow:
        thread.join()
    server.stop()
    print(
        "\n| while both workers predict for 20 s | n | statuses | median | slowest |\n|---|---|---|"
        "---|---|"
    )
    for name, found in (("ping", pings), ("one request too many", refusals)):
        times = sorted(seconds * 1000 for seconds, _ in found)
        kinds = sorted({status for _, status in found})
        print(
            f"| {name} | {len(times)} | {kinds} | {times[len(times) // 2]:.1f} ms | "
            f"{times[-1]:.1f} ms |"
        )
    print(f"| the predictions | 2 | {statuses} | | |")


def main() -> None:
    """Run all and print tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--stops", type=int, default=5)
    parser.add_argument("--requests", type=int, default=1_000_000)
    options = parser.parse_args()
    base = options.model.resolve().parent
    pixels = int(np.prod(json.loads((options.model / "model.json").read_text())["input_shape"]))
    rows = np.random.default_rng(0).integers(0, 256, (3, pixels), np.uint8)
    body = b",".join(b"%d" % pixel for pixel in rows[0])
    request = (
        b"POST /invocations HTTP/1.1\r\nHost: a\r\nContent-Type: text/csv\r\nContent-Length: "
        b"%d\r\n\r\n" % len(body)
    )
    print(
        f"{platform.machine()}, {os.cpu_count()} processors, Python {platform.python_version()}\n"
    )
    if options.kills:
        print_kills(base, request + body, options.kills)
    if options.stops:
        print_stops(base, request + body, options.stops)
    with tempfile.TemporaryDirectory() as directory:
        print_pings(Path(directory))
    if options.requests:
        print_memory(base, rows, options.requests)


if __name__ == "__main__":
    main()
