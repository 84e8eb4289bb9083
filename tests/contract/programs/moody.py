"""Serves its process id; the status of /ping is PING_STATUS, or in the file that MOOD names.

IGNORE=1 ignores SIGTERM.
"""

import os
import signal
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        mood = Path(os.environ.get("MOOD", "/nothing"))
        self.answer(
            int(
                mood.read_text()
                if mood.exists() and mood.read_text()
                else os.environ.get("PING_STATUS", "200")
            )
        )

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.answer(200, os.environ["HOME"].encode())

    def answer(self, status: int, body: bytes = b"") -> None:
        self.send_response(status)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


signal.signal(
    signal.SIGTERM, signal.SIG_IGN if os.environ.get("IGNORE") else lambda *_: sys.exit(0)
)
ThreadingHTTPServer(
    ("0.0.0.0", int(os.environ.get("SAGEMAKER_BIND_TO_PORT", "8080"))), Handler
).serve_forever()
