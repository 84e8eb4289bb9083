"""Serves row sums; exits once, without a log line, when enough requests are in flight."""

import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

MARK, CROWD = Path(os.environ["DIES_AT"]), int(os.environ["DIES_WITH"])
crowd = threading.Barrier(CROWD)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.answer(200 if self.path == "/ping" else 404, b"")

    def do_POST(self) -> None:
        rows = self.rfile.read(int(self.headers["Content-Length"])).decode().splitlines()
        if not MARK.exists():
            if crowd.wait() == 0:  # one of them
                MARK.write_text(str(CROWD))
                os._exit(3)
            threading.Event().wait()
        self.answer(200, "\n".join(str(sum(map(int, row.split(",")))) for row in rows).encode())

    def answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "text/csv")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


ThreadingHTTPServer(
    ("0.0.0.0", int(os.environ.get("SAGEMAKER_BIND_TO_PORT", "8080"))), Handler
).serve_forever()
