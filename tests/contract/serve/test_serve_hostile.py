"""Floods and bombs: each is refused, in bounded memory, and `/ping` answers within two seconds."""

import contextlib
import gzip
import io
import socket
import struct
import threading
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ROW = b"0," * 63 + b"255"


def resident_mb(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:"))


@contextlib.contextmanager
def pinging(server: Any) -> Iterator[list[float]]:
    """Ping continuously; the list receives the seconds of each ping."""
    seconds: list[float] = []
    done = threading.Event()

    def ping() -> None:
        while not done.wait(0.02):
            start = time.monotonic()
            assert server.request("GET", "/ping")[0] == 200
            seconds.append(time.monotonic() - start)

    thread = threading.Thread(target=ping)
    thread.start()
    try:
        yield seconds
    finally:
        done.set()
        thread.join()


def make_png_bomb() -> bytes:
    """Make a picture of 50,000 by 50,000 pixels in 3 MB."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content))
            + kind
            + content
            + struct.pack(">I", zlib.crc32(kind + content))
        )

    header = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 0, 0, 0, 0)
    pixels = zlib.compress(bytes(100_000_000), 1)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    )


def make_npz_bomb() -> bytes:
    stream = io.BytesIO()
    with (
        zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("a.npy", "w") as member,
    ):
        for _ in range(200):
            member.write(bytes(1_000_000))
    return stream.getvalue()


@pytest.mark.parametrize(
    ("content_type", "encoding", "make", "status"),
    [
        ("text/csv", "gzip", lambda: gzip.compress(bytes(200_000_000), 1), 413),
        ("text/csv", "gzip", lambda: b"".join([gzip.compress(bytes(10_000_000), 1)] * 20), 413),
        ("image/png", "", make_png_bomb, 400),
        (
            "multipart/form-data; boundary=X",
            "",
            lambda: b"--X\r\nContent-Type: image/png\r\n\r\n" + make_png_bomb() + b"\r\n--X--",
            400,
        ),
        ("application/x-npz", "", make_npz_bomb, 413),
        ("application/json", "", lambda: b"[" * 10_000, 400),
        ("application/json", "", lambda: b"[" * 10_000 + b"]" * 10_000, 400),
        ("application/json", "", lambda: b'{"instances":' * 10_000, 400),
        ("application/jsonlines", "", lambda: b"\n".join([b"[" * 10_000] * 20), 400),
        ("application/json", "", lambda: b"[" + b"9" * 1_000_000 + b"]", 400),
    ],
    ids=[
        "gzip",
        "gzip members",
        "png",
        "png in multipart",
        "npz",
        "json",
        "closed json",
        "objects",
        "lines",
        "digits",
    ],
)
def test_bomb_is_refused_while_pings_are_answered(
    server: Any, content_type: str, encoding: str, make: Callable[[], bytes], status: int
) -> None:
    """HO-4, RQ-8, SEC-3."""
    body = make()
    before = {pid: resident_mb(pid) for pid in server.worker_pids()}
    headers = {"Content-Type": content_type} | ({"Content-Encoding": encoding} if encoding else {})

    with pinging(server) as seconds:
        statuses = [server.request("POST", "/invocations", body, **headers)[0] for _ in range(4)]

    assert statuses == [status] * 4
    assert max(seconds, default=0) < 2
    after = {pid: resident_mb(pid) for pid in server.worker_pids()}
    assert set(before) <= set(after), "a worker died"
    growth_mb = [after[pid] - before[pid] for pid in before]
    assert max(growth_mb) < 150, "memory at its highest"


def send(server: Any, data: bytes, *, half_close: bool) -> bytes:
    """Send all of `data`, then read to the end or to where the server breaks off."""
    answer = b""
    with (
        contextlib.suppress(ConnectionError),
        socket.create_connection(("127.0.0.1", server.port), 30) as connection,
    ):
        with contextlib.suppress(ConnectionError):
            connection.sendall(data)
            if half_close:
                connection.shutdown(socket.SHUT_WR)
        while piece := connection.recv(1 << 16):
            answer += piece
    return answer


@pytest.mark.parametrize(
    ("data", "statuses"),
    [
        (
            b"GET /ping HTTP/1.1\r\nHost: a\r\n"
            + b"".join(b"X-%d: y\r\n" % n for n in range(20_000)),
            {b"431"},
        ),
        (b"GET /ping HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 1_000_000, {b"431"}),
        (b"GET /" + b"p" * 1_000_000, {b"431"}),
        (b"GET /ping HTTP/1.1\r\nHost: a\r\n\r\n" * 2000, {b"200"}),
        (
            b"POST /invocations HTTP/1.1\r\nHost: a\r\nContent-Type: text/csv\r\n"
            b"Content-Length: 129\r\n\r\n" + ROW,
            {b"200"},
        ),
        (
            b"POST /invocations HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
            + b"1\r\nx\r\n" * 20_000,
            set(),
        ),
    ],
    ids=["many headers", "long header", "long target", "pipelined", "half closed", "tiny chunks"],
)
def test_flood_of_twenty_clients_leaves_pings_their_answers(
    server: Any, data: bytes, statuses: set[bytes]
) -> None:
    """HO-4, HO-7."""
    answers: list[bytes] = []
    with pinging(server) as seconds:
        clients = [
            threading.Thread(target=lambda: answers.append(send(server, data, half_close=True)))
            for _ in range(20)
        ]
        for client in clients:
            client.start()
        for client in clients:
            client.join()

    found = {piece[:3] for answer in answers for piece in answer.split(b"HTTP/1.1 ")[1:]}
    assert found <= statuses
    assert server.request("GET", "/ping")[0] == 200
    assert max(seconds, default=0) < 2
