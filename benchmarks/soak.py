"""Claim: a soak of mixed traffic, kills, model loads and log stalls harms nobody but its own.

No answer is 5xx or lost but those of killed workers, memory stays within 10 %, descriptors within
two, and every ping is answered within 250 ms. Two servers run: one with two workers, one of which
is killed now and then, and a multi-model endpoint whose models come and go. Nobody reads their logs
for a third of the time.

Machine: any; everything, the clients included, runs on the same cores. n: MINUTES of CLIENTS
clients for each server; a ping every 20 ms to each, from processes of their own.

usage: python -m benchmarks.soak MODEL_DIR [--minutes 30] [--clients 6] [--seed 0]
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import multiprocessing
import os
import random
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import toolkit_server

PING_MS = 250
GROWTH = 1.10
KILL_S = 20.0  # between two kills of a worker
LOST_S = 2.0  # after a kill, what its worker held may fail
STALL_S = 20.0  # every minute, nobody reads the logs
PIXELS = 64
GOOD = b",".join([b"7"] * PIXELS)
HUGE_ROWS = 20_000


class Server:
    """A running server whose log is read by a thread, except while it stalls."""

    def __init__(self, base: Path, is_stalled: threading.Event, **environ: str) -> None:
        self.process, self.port = toolkit_server.start(base, subprocess.PIPE, **environ)
        self.log_bytes = 0
        self._is_stalled = is_stalled
        threading.Thread(target=self._read_log, daemon=True).start()
        while not self._pings():
            if self.process.poll() is not None:
                sys.exit("the server did not start")
            time.sleep(0.05)

    def _read_log(self) -> None:
        stream: Any = self.process.stdout
        while piece := os.read(stream.fileno(), 1 << 16):
            self.log_bytes += len(piece)
            while self._is_stalled.is_set():
                time.sleep(0.1)

    def _pings(self) -> bool:
        with contextlib.suppress(OSError):
            return ask(self.port, "GET", "/ping")[0] == 200
        return False

    def list_processes(self) -> list[int]:
        """List the master and its workers."""
        return [self.process.pid, *toolkit_server.list_workers(self.process)]

    def count_memory_kb(self) -> int:
        """Return the proportional memory of all processes; shared pages count once."""
        total = 0
        for pid in self.list_processes():
            with contextlib.suppress(OSError):
                text = Path(f"/proc/{pid}/smaps_rollup").read_text()
                total += int(text.partition("\nPss:")[2].split()[0])
        return total

    def count_descriptors(self) -> int:
        """Return the most descriptors that one process has open."""
        counts = [0]
        for pid in self.list_processes():
            with contextlib.suppress(OSError):  # just killed
                counts.append(len(list(Path(f"/proc/{pid}/fd").iterdir())))
        return max(counts)

    def read_metric(self, name: str) -> float:
        """Return one number of `/metrics`."""
        page = ask(self.port, "GET", "/metrics")[1].decode()
        return float(page.partition(f"\n{name} ")[2].split()[0])


def ask(
    port: int, method: str, path: str, body: bytes = b"", content_type: str = "text/csv"
) -> tuple[int, bytes]:
    """Send one request on a connection of its own; return status and body."""
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as client:
        client.request(method, path, body or None, {"Content-Type": content_type})
        answer = client.getresponse()
        return answer.status, answer.read()


class Traffic:
    """What one client does, at random; each method returns the statuses that it got."""

    def __init__(self, port: int, path: str, seed: int) -> None:
        self.port = port
        self.path = path
        self.chance = random.Random(seed)  # noqa: S311 - a benchmark's, which must repeat
        self.kinds: dict[str, Callable[[], list[int]]] = {
            "good": lambda: [self._post(GOOD)],
            "npy": lambda: [
                self._post(_save(np.zeros((9, PIXELS), np.uint8)), "application/x-npy")
            ],
            "bad": lambda: [self._post(b"1,2,x\n" * self.chance.randint(1, 500))],
            "wrong type": lambda: [self._post(GOOD, "text/" + "x" * 2000)],
            "huge": lambda: [self._post(b"\n".join([GOOD] * HUGE_ROWS))],
            "too huge": lambda: [self._post(bytes(7 << 20))],
            "slow": lambda: self._send(_frame(self.path, GOOD), pause_s=0.02),
            "tiny chunks": lambda: self._send(_chunk(self.path, b"7\n" * 40_000, 1)),
            "chunks": lambda: self._send(_chunk(self.path, GOOD, 20)),
            "pipelined": lambda: self._send(_frame(self.path, GOOD) * 200, answers=200),
            "slow reader": self._read_slowly,
            "cancelled": self._cancel,
            "garbage": lambda: self._send(self.chance.randbytes(500) + b"\r\n\r\n"),
            "unknown route": lambda: [ask(self.port, "GET", "/nothing%0anothing")[0]],
        }

    def _post(self, body: bytes, content_type: str = "text/csv") -> int:
        return ask(self.port, "POST", self.path, body, content_type)[0]

    @contextlib.contextmanager
    def _connect(self) -> Iterator[socket.socket]:
        with socket.create_connection(("127.0.0.1", self.port), timeout=60) as connection:
            yield connection

    def _send(self, data: bytes, *, answers: int = 1, pause_s: float = 0.0) -> list[int]:
        """Send bytes, perhaps in pieces, and read so many answers, or up to the end."""
        with self._connect() as connection:
            step = 10 if pause_s else len(data)
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # refused meanwhile
                for start in range(0, len(data), step):
                    connection.sendall(data[start : start + step])
                    time.sleep(pause_s)
            text = b""
            while text.count(b"HTTP/1.1 ") < answers or b"\r\n\r\n" not in text:
                piece = connection.recv(1 << 16)
                if not piece:
                    break
                text += piece
        return [int(piece[:3]) for piece in text.split(b"HTTP/1.1 ")[1:]]

    def _read_slowly(self) -> list[int]:
        body = b"\n".join([GOOD] * 3000)
        head = b"Accept: application/jsonlines\r\n"
        with self._connect() as connection:
            connection.sendall(_frame(self.path, body, head))
            text = connection.recv(20)
            for _ in range(20):
                time.sleep(0.05)
                connection.recv(1000)
        return [int(text.split()[1])] if text else []

    def _cancel(self) -> list[int]:
        with self._connect() as connection:
            data = _frame(self.path, b"\n".join([GOOD] * 2000))
            connection.sendall(data[: self.chance.randint(1, len(data))])
        return [0]


def _save(array: Any) -> bytes:
    import io

    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def _frame(path: str, body: bytes, more: bytes = b"") -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Type: text/csv\r\n".encode()
    return head + more + b"Content-Length: %d\r\n\r\n" % len(body) + body


def _chunk(path: str, body: bytes, size: int) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Type: text/csv\r\n".encode()
    pieces = [body[start : start + size] for start in range(0, len(body), size)]
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    return head + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"


class Soak:
    """Runs the traffic of all clients and notes what came of it."""

    def __init__(self, base: Path, options: argparse.Namespace) -> None:
        self.options = options
        self.end = threading.Event()
        self.stalled = threading.Event()
        self.statuses: Counter[tuple[str, int]] = Counter()
        self.faults: list[tuple[float, str, str]] = []
        """When, of which kind of request, and what."""
        self.kills: list[float] = []
        self.loads: Counter[int] = Counter()
        # At debug each request has a line, so that a stalled log soon drops some.
        single = {"SAGEMAKER_MODEL_SERVER_WORKERS": "2", "SAGEMAKER_CONTAINER_LOG_LEVEL": "debug"}
        self.single = Server(base, self.stalled, **single)
        self.multi = Server(base, self.stalled, SAGEMAKER_MULTI_MODEL="true")
        self.url = str(base / "models/a/model")
        self._load("kept")

    def _load(self, name: str) -> int:
        body = json.dumps({"model_name": name, "url": self.url}).encode()
        return ask(self.multi.port, "POST", "/models", body, "application/json")[0]

    def drive(self, traffic: Traffic) -> None:
        """Send requests of random kinds until the end."""
        while not self.end.is_set():
            kind = traffic.chance.choice(list(traffic.kinds))
            try:
                statuses = traffic.kinds[kind]()
            except (OSError, http.client.HTTPException) as error:
                self.faults.append((time.monotonic(), kind, repr(error)))
                continue
            if not statuses:
                self.faults.append((time.monotonic(), kind, "no answer"))
            for status in statuses:
                self.statuses[kind, status] += 1
                if status >= 500:
                    self.faults.append((time.monotonic(), kind, str(status)))

    def kill(self) -> None:
        """Kill a worker of the first server now and then."""
        while not self.end.wait(KILL_S):
            victim = self.single.list_processes()[-1]
            self.kills.append(time.monotonic())
            with contextlib.suppress(ProcessLookupError):
                os.kill(victim, signal.SIGKILL)

    def load_models(self) -> None:
        """Load and unload models of the second server."""
        while not self.end.wait(1.0):
            self.loads[self._load("coming")] += 1
            self.loads[ask(self.multi.port, "DELETE", "/models/coming")[0]] += 1

    def stall(self) -> None:
        """Leave the logs unread for a third of each minute."""
        while not self.end.wait(60 - STALL_S):
            self.stalled.set()
            self.end.wait(STALL_S)
            self.stalled.clear()
        self.stalled.clear()


def ping(port: int, end: Any, results: Any) -> None:
    """Ping until the end; put the port, and of each ping when it was sent and its ms, or -1."""
    times = []
    while not end.is_set():
        started = time.monotonic()
        try:
            status = ask(port, "GET", "/ping")[0]
        except (OSError, http.client.HTTPException):
            status = 0
        taken_ms = (time.monotonic() - started) * 1000
        times.append((started, taken_ms if status == 200 else -1.0))
        time.sleep(0.02)
    results.put((port, times))


def run(base: Path, options: argparse.Namespace) -> int:
    """Run the soak; print what was found; return 1 if a check failed."""
    soak = Soak(base, options)
    servers = (soak.single, soak.multi)
    context = multiprocessing.get_context("spawn")
    pings_end = context.Event()
    results: Any = context.Queue()
    pingers = [
        context.Process(target=ping, args=(server.port, pings_end, results)) for server in servers
    ]
    threads = [threading.Thread(target=job) for job in (soak.kill, soak.load_models, soak.stall)]
    for number in range(options.clients):
        for server, path in zip(servers, ("/invocations", "/models/kept/invoke"), strict=True):
            traffic = Traffic(server.port, path, options.seed * 1000 + number)
            threads.append(threading.Thread(target=soak.drive, args=(traffic,)))
    for worker in (*pingers, *threads):
        worker.start()
    memory: list[tuple[int, ...]] = []
    descriptors: list[tuple[int, ...]] = []
    started = time.monotonic()
    while time.monotonic() < started + options.minutes * 60:
        time.sleep(1)
        memory.append(tuple(server.count_memory_kb() for server in servers))
        descriptors.append(tuple(server.count_descriptors() for server in servers))
    soak.end.set()
    pings_end.set()
    pings = dict(results.get() for _ in pingers)
    for worker in (*threads, *pingers):
        worker.join()
    failed = report(soak, memory, descriptors, pings)
    for server in servers:
        server.process.terminate()
        server.process.wait(40)
    return int(failed)


def report(
    soak: Soak,
    memory: list[tuple[int, ...]],
    descriptors: list[tuple[int, ...]],
    pings: dict[int, list[tuple[float, float]]],
) -> bool:
    """Print the figures and the checks; return whether one failed."""

    def is_excused(when: float) -> bool:
        return any(kill - 1 <= when <= kill + LOST_S for kill in soak.kills)

    for kind in sorted({kind for kind, _ in soak.statuses}):
        found = {status: n for (of, status), n in sorted(soak.statuses.items()) if of == kind}
        print(f"  {kind:14} {found}")
    print(f"  {len(soak.kills)} kills; model loads and unloads {dict(soak.loads)}")
    dropped = [server.read_metric("serving_log_lines_dropped_total") for server in
               (soak.single, soak.multi)]  # fmt: skip
    print(
        f"  log: {soak.single.log_bytes + soak.multi.log_bytes} bytes read, {dropped} lines dropped"
    )
    excused = sum(is_excused(when) for when, _, _ in soak.faults)
    faults = [fault for fault in soak.faults if not is_excused(fault[0])]
    lost = 0
    slowest = []
    for name, server in (("one model", soak.single), ("many models", soak.multi)):
        counted = [taken for when, taken in pings[server.port] if not is_excused(when)]
        lost += sum(taken < 0 for taken in counted)
        high = statistics.quantiles(counted, n=1000)
        slowest.append(max(counted))
        middle = statistics.median(counted)
        print(
            f"  {len(counted)} pings, {name}: p50 {middle:.1f}, p99 {high[-10]:.1f}, "
            f"p99.9 {high[-1]:.1f}, most {slowest[-1]:.0f} ms"
        )
    third = max(1, len(memory) // 3)
    growth = []
    for early, late in zip(
        zip(*memory[third : 2 * third], strict=True),
        zip(*memory[-third:], strict=True),
        strict=True,
    ):
        growth.append(statistics.median(late) / statistics.median(early))
    open_early = [max(column) for column in zip(*descriptors[third : 2 * third], strict=True)]
    open_late = [max(column) for column in zip(*descriptors[-third:], strict=True)]
    checks = {
        f"no 5xx and no lost request but {excused} of killed workers": not faults,
        "every ping answered": not lost,
        f"no ping of more than {PING_MS} ms": max(slowest) <= PING_MS,
        f"memory, last third by second: {growth[0]:.3f}, {growth[1]:.3f}; at most {GROWTH}": max(
            growth
        )
        <= GROWTH,
        f"descriptors, second and last third: {open_early}, {open_late}": all(
            late <= early + 2 for early, late in zip(open_early, open_late, strict=True)
        ),
    }
    for text, is_good in checks.items():
        print(f"  {'ok  ' if is_good else 'FAIL'} {text}")
    for when, kind, what in faults[:10]:
        print(f"       {kind}: {what} at {when:.1f}")
    return not all(checks.values())


def main() -> int:
    """Run the soak on copies of a model."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model_dir", type=Path)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--clients", type=int, default=6)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        base = Path(scratch)
        shutil.copytree(options.model_dir, base / "model")
        shutil.copytree(options.model_dir, base / "models/a/model")
        return run(base, options)


if __name__ == "__main__":
    sys.exit(main())
