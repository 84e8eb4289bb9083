"""A user's container for the tests of the local AWS: standard library only, ready in 0.1 s.

Training prints metrics and writes a model of its hyperparameters; serving answers from that model.
Hyperparameters and environment make it fail, wait or ignore the stop signal.
"""

import contextlib
import json
import math
import os
import queue
import signal
import socket
import sys
import tarfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

BASE = Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml"))


def train() -> int:
    hyperparameters = json.loads((BASE / "input/config/hyperparameters.json").read_text())
    stops: queue.SimpleQueue[int] = queue.SimpleQueue()
    signal.signal(signal.SIGTERM, lambda number, _: stops.put(number))
    rate = float(hyperparameters.get("learning_rate", "0.1"))
    epochs = int(hyperparameters.get("epochs", "1"))
    if any((BASE / "input/data").glob(f"*/{hyperparameters.get('until', '-')}")):
        epochs = 1  # what a long job waits for is there
    for epoch in range(epochs):
        # the best rate is 0.03; later epochs come closer to what the rate allows
        score = (1 - min(1.0, abs(math.log10(rate / 0.03)) / 3)) * (1 - 0.5 ** (epoch + 1))
        print(f"epoch={epoch}; validation_accuracy={score:.4f};", flush=True)
        with contextlib.suppress(queue.Empty):
            stops.get(timeout=float(hyperparameters.get("epoch_s", "0")))
            print("stopped early", flush=True)
            break
    if "failure" in hyperparameters:
        (BASE / "output/failure").write_text(hyperparameters["failure"])
        return 1
    names = sorted(path.name for path in (BASE / "input/data").glob("*/*"))
    (BASE / "model/model.json").write_text(
        json.dumps({"hyperparameters": hyperparameters, "files": names})
    )
    return 0


def wait(variable: str) -> None:
    if variable in os.environ:
        print(f"{variable} is set", flush=True)
        time.sleep(float(os.environ[variable]))


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # one packet an answer

    def do_GET(self) -> None:
        self._answer(200 if self.path == "/ping" else 404, b"")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/invocations" and body == b"refuse":
            self._answer(415, b"no such type")
        elif body == b"fail":
            self._answer(500, b"it broke")
        elif body == b"sleep":
            print("it sleeps", flush=True)
            time.sleep(float(os.environ.get("SLEEP_S", "1")))
            self._answer(200, b"slept")
        elif self.path == "/invocations" and body.startswith(b"stream"):
            self.send_response(200)
            self.send_header("Content-Type", "text/plain")
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for part in body.split(b" "):
                self.wfile.write(b"%x\r\n%b\r\n" % (len(part), part))
                self.wfile.flush()
                time.sleep(0.05)
            self.wfile.write(b"0\r\n\r\n")
        else:
            model = (
                json.loads((BASE / "model/model.json").read_text())
                if (BASE / "model/model.json").exists()
                else {}
            )
            attributes = self.headers.get("X-Amzn-SageMaker-Custom-Attributes", "")
            port = f"{socket.gethostname()}:{self.server.server_address[1]}"
            answer = {
                "echo": body.decode(),
                "model": model,
                "port": port,
                "attributes": attributes,
                "headers": dict(self.headers.items()),
            }
            self._answer(200, json.dumps(answer).encode(), "application/json")

    def _answer(self, status: int, body: bytes, content_type: str = "text/plain") -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    request_queue_size = 128  # the platform waits 250 ms for a connection to be accepted (HO-7)


def serve() -> int:
    if os.environ.get("NEVER_HEALTHY"):
        print("I do not come up", flush=True)
        return 1
    wait("START_S")
    server = Server(("0.0.0.0", int(os.environ.get("SAGEMAKER_BIND_TO_PORT", "8080"))), Handler)
    stops: queue.SimpleQueue[int] = queue.SimpleQueue()
    signal.signal(signal.SIGTERM, lambda number, _: stops.put(number))
    threading.Thread(
        target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
    ).start()
    print("serving", flush=True)
    stops.get()
    server.shutdown()
    return 0


def process() -> int:
    wait("PROCESS_S")
    archive = BASE / "processing/input/model/model.tar.gz"
    if archive.exists():  # an evaluation: the model itself says how good it is
        with tarfile.open(archive) as tar:
            model = json.load(tar.extractfile("model.json"))
        metrics = {"accuracy": float(model["hyperparameters"]["accuracy"])}
        (BASE / "processing/output/evaluation/metrics.json").write_text(json.dumps(metrics))
        return 0
    for source in (BASE / "processing").glob("input*/*"):
        (BASE / "processing/output" / source.name).write_bytes(source.read_bytes().upper())
    print("processed", flush=True)
    (BASE / "output/message").write_text("done well")
    return 0


if __name__ == "__main__":
    sys.exit(
        {"train": train, "serve": serve}.get(sys.argv[1] if len(sys.argv) > 1 else "", process)()
    )
