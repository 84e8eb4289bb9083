"""Serves: says what it can write to; waits, takes memory or gives bytes as the body says."""

import json
import os
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

kept = []


def can_write(directory: str) -> bool:
    path = Path(directory) / f"probe-{os.getpid()}"
    try:
        path.write_text("x")
        path.unlink()
    except OSError:
        return False
    return True


def obey(order: str, value: str) -> bytes:
    if order == "wait":
        while not Path(value).exists():
            time.sleep(0.02)
    if order == "take":
        kept.append(b"x" * int(value))
        time.sleep(60)
    if order == "give":
        return b"x" * int(value)
    places = ("/", "/opt/ml", "/dev/shm", "/tmp", str(Path.home()))  # noqa: S108 - probed
    told = {
        "process": Path("/proc/self/ns/pid").readlink().name,
        "writable": [place for place in places if can_write(place)],
        "home": str(Path.home()),
    }
    return json.dumps(told).encode()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.answer(200 if self.path == "/ping" else 404, b"")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        order, _, value = body.partition(":")
        self.answer(200, obey(order, value))

    def answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


port = int(os.environ.get("SAGEMAKER_BIND_TO_PORT", "8080"))
ThreadingHTTPServer(("0.0.0.0", port), Handler).serve_forever()
