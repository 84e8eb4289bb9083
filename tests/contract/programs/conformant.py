"""A container in one file of the standard library: keeps the whole contract, or breaks the one clause it is told to.

    python conformant.py [--violate CLAUSE] train | serve | (nothing: processing)

`train` adds up the numbers in the CSV files of its channels. `serve` answers each CSV row with its sum plus that total.
Behaviour for single tests comes by hyperparameter: `steps`, `step_s`, `fail`, `ignore_stop`.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

BASE = Path(os.environ.get("SAGEMAKER_BASE_DIR") or "/opt/ml")
VIOLATED = ""


def violates(clause: str) -> bool:
    return clause == VIOLATED


def log(text: str) -> None:
    print(text, flush=True)


class Stop:
    """Set by SIGTERM and SIGINT."""

    def __init__(self) -> None:
        self.event = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self.event.set())


def read_numbers(paths: list[Path]) -> float:
    return sum(
        float(cell)
        for path in paths
        for line in path.read_text().splitlines()
        for cell in line.split(",")
        if cell.strip()
    )


def read_pipe(name: str, epochs: int) -> float:
    """Read epochs of a FIFO, the first only in part when told so by the name."""
    total = 0.0
    for epoch in range(epochs):
        fifo = BASE / f"input/data/{name}_{epoch}"
        while not fifo.exists():
            time.sleep(0.01)
        with fifo.open("rb") as stream:
            total += len(stream.read(4) if name.startswith("partial") and epoch == 0 else stream.read())
    return total


def train() -> int:
    stop = Stop()
    config = BASE / "input/config"
    hyperparameters = json.loads((config / "hyperparameters.json").read_text())
    channels = json.loads((config / "inputdataconfig.json").read_text())
    resources = json.loads((config / "resourceconfig.json").read_text())
    checkpoint = BASE / "checkpoints/step"
    if hyperparameters.get("fail"):
        (BASE / "output/failure").write_text(hyperparameters["fail"] + "\n")
        log("failing as told")
        return 3
    totals = {}
    for name, channel in channels.items():
        if channel["TrainingInputMode"] == "Pipe":
            totals[name] = read_pipe(name, int(hyperparameters.get("epochs", "1")))
        else:
            totals[name] = read_numbers(sorted(p for p in (BASE / f"input/data/{name}").rglob("*") if p.is_file()))
    first = int(checkpoint.read_text()) + 1 if checkpoint.exists() else 0
    log(f"starting at step {first} on {resources['current_host']} of {resources['hosts']}")
    for step in range(first, int(hyperparameters.get("steps", "2"))):
        log(f"step={step}; loss={1 / (step + 1):.4f};")
        if checkpoint.parent.is_dir():
            partial = checkpoint.with_suffix(".partial")
            partial.write_text(str(step))
            partial.replace(checkpoint)
        if stop.event.wait(float(hyperparameters.get("step_s", "0"))) and not hyperparameters.get("ignore_stop"):
            log("stopping")
            break
    while hyperparameters.get("ignore_stop"):
        time.sleep(0.05)
    (BASE / "model").mkdir(exist_ok=True)
    partial = BASE / "model/.model.json"
    partial.write_text(json.dumps({"totals": totals, "host": resources["current_host"]}, sort_keys=True))
    partial.replace(
        BASE / ("model/model.json" if len(resources["hosts"]) == 1 else f"model/{resources['current_host']}.json")
    )
    (BASE / "output/data").mkdir(parents=True, exist_ok=True)
    (BASE / f"output/data/{resources['current_host']}.txt").write_text("done\n")
    return 0


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        if self.path == "/ping":
            self.answer(200, b"")
        elif self.path == "/execution-parameters":
            document = {"MaxConcurrentTransforms": 4, "BatchStrategy": "MULTI_RECORD", "MaxPayloadInMB": 6}
            self.answer(200, json.dumps(document).encode(), "application/json")
        elif self.path.split("?")[0] == "/models" and self.server.is_multi_model:
            models = [{"modelName": name, "modelUrl": url} for name, url in self.server.models.items()]
            self.answer(200, json.dumps({"models": models}).encode(), "application/json")
        elif self.path.startswith("/models/") and self.server.is_multi_model:
            name = unquote(self.path.split("/")[2])
            found = name in self.server.models
            document = {"modelName": name, "modelUrl": self.server.models.get(name)}
            self.answer(200 if found else 404, json.dumps(document).encode(), "application/json")
        else:
            self.answer(405 if self.path == "/invocations" else 404, b"no such page", "text/plain")

    def do_DELETE(self) -> None:
        name = unquote(self.path.split("/")[2]) if self.path.startswith("/models/") else ""
        self.answer(200 if self.server.models.pop(name, None) else 404, b"")

    def do_POST(self) -> None:
        body = self.read_body()
        if self.path == "/ping":
            self.answer(200, b"")
        elif self.path == "/models" and self.server.is_multi_model:
            self.load_model(json.loads(body))
        elif self.path.startswith("/models/") and self.path.endswith("/invoke"):
            name = unquote(self.path.split("/")[2])
            if name not in self.server.models:
                self.answer(404, b"not loaded", "text/plain")
            else:
                self.predict(body, json.loads((Path(self.server.models[name]) / "model.json").read_text()))
        elif self.path == "/invocations":
            self.predict(body, self.server.model)
        else:
            self.answer(404, b"no such page", "text/plain")

    def load_model(self, order: dict[str, str]) -> None:
        if order["model_name"] in self.server.models:
            self.answer(409, b"loaded already", "text/plain")
        elif len(self.server.models) >= 2:
            self.answer(507, b"no memory for another", "text/plain")
        elif not (Path(order["url"]) / "model.json").is_file():
            self.answer(404, b"no model there", "text/plain")
        else:
            self.server.models[order["model_name"]] = order["url"]
            self.answer(200, b"")

    def predict(self, body: bytes, model: dict[str, object]) -> None:
        content_type = self.headers.get("Content-Type", "").split(";")[0].strip().lower()
        if content_type not in ("text/csv", "application/json"):
            self.answer(415, b'{"error": "text/csv is possible"}', "application/json")
            return
        accept = self.headers.get("Accept") or "*/*"
        if not any(kind in accept for kind in ("text/csv", "text/*", "*/*")):
            self.answer(406, b'{"error": "text/csv is possible"}', "application/json")
            return
        try:
            rows = [[float(cell) for cell in line.split(",")] for line in body.decode().splitlines()]
            if not rows:
                raise ValueError("empty body")
        except ValueError as error:
            self.answer(400, json.dumps({"error": str(error)}).encode(), "application/json")
            return
        if rows[0][0] == -1:  # a slow answer, for time limits and stops
            time.sleep(rows[0][1])
        if rows[0][0] == -2:  # the worker dies
            os._exit(9)
        if rows[0][0] == -3:  # a bug
            self.answer(500, b"x" * 5000, "text/plain")
            return
        total = sum(model.get("totals", {}).values())  # type: ignore[attr-defined]
        text = "\n".join(f"{sum(row) + total:g}" for row in rows)
        extra = {}
        if attributes := self.headers.get("X-Amzn-SageMaker-Custom-Attributes"):
            extra["X-Amzn-SageMaker-Custom-Attributes"] = attributes
        if self.headers.get("X-Secret"):
            extra["X-Amzn-SageMaker-Custom-Attributes"] = "leaked " + self.headers["X-Secret"]
        self.answer(200, text.encode(), "text/csv", extra)

    def read_body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        pieces = []
        while size := int(self.rfile.readline(), 16):
            pieces.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(pieces)

    def answer(self, status: int, body: bytes, content_type: str = "", extra: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {**({"Content-Type": content_type} if content_type else {}), **(extra or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = False
    request_queue_size = 128
    is_multi_model = os.environ.get("SAGEMAKER_MULTI_MODEL", "").lower() == "true"
    models: dict[str, str]
    model: dict[str, object]


def serve() -> int:
    stop = Stop()
    server = Server(("0.0.0.0", int(os.environ.get("SAGEMAKER_BIND_TO_PORT", "8080"))), Handler)
    server.models = {}
    path = BASE / "model/model.json"
    server.model = json.loads(path.read_text()) if path.is_file() else {"totals": {}}
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    log("serving")
    stop.event.wait()
    server.shutdown()
    server.server_close()  # waits for requests in flight
    return 0


def process() -> int:
    config = json.loads((BASE / "config/processingjobconfig.json").read_text())
    place = {item["InputName"]: item["S3Input"]["LocalPath"] for item in config["ProcessingInputs"]}
    names = sorted(p.name for path in place.values() for p in (BASE / path.removeprefix("/opt/ml/")).rglob("*"))
    for output in config["ProcessingOutputConfig"]["Outputs"]:
        path = BASE / output["S3Output"]["LocalPath"].removeprefix("/opt/ml/")
        (path / "names.json").write_text(json.dumps(names))
    (BASE / "output").mkdir(exist_ok=True)
    (BASE / "output/message").write_text(f"saw {len(names)} files")
    return 0


def main(argv: list[str]) -> int:
    global VIOLATED
    if argv[:1] == ["--violate"]:
        VIOLATED, argv = argv[1], argv[2:]
    if not argv:
        return process()
    return {"train": train, "serve": serve}[argv[0]]()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
