"""Serves: answers each request with one JSON line of what arrived; no /execution-parameters.

It breaks off the connection of a GET for the path in UNANSWERED. A request for a new session opens
one that has the name of the port.
"""

import json
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path == os.environ.get("UNANSWERED"):
            self.close_connection = True
            return
        self.answer(200 if self.path == "/ping" else 404, b"")

    def do_POST(self) -> None:
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        told = {
            "body": body.hex(),
            "headers": headers,
            "environment": dict(os.environ),
            "path": self.path,
        }
        self.answer(200, json.dumps(told).encode())

    def answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        if self.headers.get("X-Amzn-SageMaker-Session-Id") == "NEW_SESSION":
            self.send_header("X-Amzn-SageMaker-New-Session-Id", str(self.server.server_port))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


ThreadingHTTPServer(
    ("0.0.0.0", int(os.environ.get("SAGEMAKER_BIND_TO_PORT", "8080"))), Handler
).serve_forever()
