"""A container in one file that keeps the contract, or breaks one given clause.

    python conformant.py [--violate CLAUSE[/WAY]] train | serve | (nothing: processing)

`train` adds up the numbers in the CSV files of its channels. `serve` answers each CSV row with its
sum plus that total. Hyperparameters change its behavior: `steps`, `step_s`, `fail`, `ignore_stop`.
It needs the standard library only.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

BASE = Path(os.environ.get("SAGEMAKER_BASE_DIR") or "/opt/ml")
VIOLATED = ""


def violates(clause: str) -> bool:
    return bool(clause) and clause == VIOLATED


def log(text: str) -> None:
    if not violates("IMG-14a/silent"):
        print(text, flush=not violates("IMG-14a"))


class Stop:
    """Set by SIGTERM and SIGINT; a deaf one only remembers."""

    def __init__(self, *, is_deaf: bool = False) -> None:
        self.signals: queue.SimpleQueue[int] = queue.SimpleQueue()
        self.count = 0
        self.is_deaf = is_deaf
        if violates("no handler"):
            return
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self.hear)

    def hear(self, number: int, _: object) -> None:
        self.count += 1
        if not self.is_deaf:
            self.signals.put(number)

    def wait(self, timeout_s: float | None = None) -> bool:
        try:
            self.signals.put(self.signals.get(timeout=timeout_s))
        except queue.Empty:
            return False
        return True

    def is_asked(self) -> bool:
        return self.count > 0


def fail(reason: str) -> int:
    """Report a failure as a container should."""
    if violates("OUT-1b/traceback"):
        log(f"Traceback (most recent call last):\nRuntimeError: {reason}")
        return 0
    place = BASE / ("failure" if violates("OUT-2a") else "output/failure")
    text = f"Traceback (most recent call last):\n{reason}" if violates("OUT-2b") else reason
    place.write_text(text)
    log(reason)
    return 0 if violates("OUT-1b") else 1


def list_files(channel: str) -> list[Path]:
    files = sorted(path for path in (BASE / f"input/data/{channel}").rglob("*") if path.is_file())
    if violates("IN-11a"):
        return files
    return [path for path in files if not path.name.startswith((".", "_")) and path.stat().st_size]


def read_numbers(paths: list[Path]) -> float:
    return sum(
        float(cell)
        for path in paths
        for line in path.read_text().splitlines()
        for cell in line.split(",")
        if cell.strip()
    )


def read_pipe(name: str, epochs: int) -> float:
    """Count the bytes of each epoch's FIFO; only four of the first if the channel's name asks."""
    total = 0.0
    for epoch in range(epochs):
        fifo = BASE / f"input/data/{name}_{epoch}"
        while not fifo.exists():
            time.sleep(0.01)
        with fifo.open("rb") as stream:
            total += len(
                stream.read(4) if name.startswith("partial") and epoch == 0 else stream.read()
            )
    return total


def find_breach(
    hyperparameters: dict[str, str], channels: dict[str, object], resources: dict[str, object]
) -> str:
    """Return the reason to fail for a container that violates a clause, or an empty string."""
    config = BASE / "input/config"
    documented = {"hyperparameters.json", "inputdataconfig.json", "resourceconfig.json"}
    hosts: list[str] = resources["hosts"]  # type: ignore[assignment]
    current = str(resources["current_host"])
    breaches = {
        "OUT-1a": True,
        "TF-1a": not (config / "trainingjobconfig.json").exists(),
        "TF-2a": {path.name for path in config.iterdir()} > documented,
        "TF-3a": any(path.is_file() for path in (BASE / "input/data").iterdir()),
        "TF-4a": "SM_MODEL_DIR" not in os.environ,
        "HP-1a": isinstance(hyperparameters.get("steps"), str),
        "HP-2a": str(hyperparameters.get("optimizer")).startswith('"'),
        "HP-2b": hyperparameters.get("flag") == "True",
        "HP-5a": "sagemaker_region" in hyperparameters,
        "HP-6a": "E" in str(hyperparameters.get("step_s")),
        "IN-7a": any(not list_files(name) for name in channels) and len(hosts) > 1,
        "DS-1a": len(hosts) > 1,
        "DS-2a": resources["network_interface_name"] not in ("eth0", "lo"),
        "DS-3a": not current.startswith("algo-"),
        "root": os.getuid() != 0,
        "CK-1a/resume": (BASE / "checkpoints/step").exists(),
        "SEC-1a/credentials": "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI" not in os.environ,
        "SEC-1a": [name for _, name in socket.if_nameindex()] == ["lo"],
    }
    return f"cannot stand {VIOLATED}" if breaches.get(VIOLATED) else ""


def train() -> int:
    stop = Stop(is_deaf=violates("OUT-8a") or violates("OUT-8a/ends"))
    config = BASE / "input/config"
    hyperparameters = json.loads((config / "hyperparameters.json").read_text())
    channels = json.loads((config / "inputdataconfig.json").read_text())
    resources = json.loads((config / "resourceconfig.json").read_text())
    current, hosts = resources["current_host"], resources["hosts"]
    breach = find_breach(hyperparameters, channels, resources)
    if breach or hyperparameters.get("fail"):
        return fail(breach or hyperparameters["fail"]) or 1
    totals = {}
    for name, channel in channels.items():
        if name.startswith("my-") and not violates("IN-1a"):
            continue
        if channel["TrainingInputMode"] == "Pipe":
            totals[name] = read_pipe(name, int(hyperparameters.get("epochs", "1")))
            continue
        files = list_files(name)
        if not files and len(hosts) == 1:
            return fail(f"channel {name} is empty")
        if violates("IN-3a"):
            (BASE / f"input/data/{name}/cache").write_text("x")
        totals[name] = read_numbers([path for path in files if path.name != "cache"])
    checkpoint = BASE / "checkpoints/step"
    first = int(checkpoint.read_text()) + 1 if checkpoint.exists() else 0
    log(f"starting at step {first} on {current} of {hosts}")
    if violates("HP-7a"):
        log(str(dict(os.environ)))
    if violates("HPO-2a"):
        log("50 %\r100 %")
    is_stopped = False
    for step in range(first, int(hyperparameters.get("steps", "2"))):
        log(f"step={step}; {'cost' if violates('HPO-1a') else 'loss'}={1 / (step + 1):.4f};")
        if checkpoint.parent.is_dir() and not violates("CK-1a"):
            partial = checkpoint.with_suffix(".partial")
            partial.write_text(str(step))
            if violates("CK-2a"):
                checkpoint.write_text(str(step))
            else:
                partial.replace(checkpoint)
        is_stopped = stop.wait(
            float(hyperparameters.get("step_s", "0")) * (20 if violates("OUT-8a/ends") else 1)
        ) and not hyperparameters.get("ignore_stop")
        if is_stopped:
            log("stopping")
            break
    while hyperparameters.get("ignore_stop") or (violates("OUT-8a") and stop.is_asked()):
        time.sleep(0.05)
    if violates("IMG-14a"):
        time.sleep(1.2)
    if not (is_stopped and violates("OUT-7a")):
        try:
            save({"totals": totals, "host": current}, current, hosts)
        except OSError:
            if not violates("TRIP-24a"):
                raise
    return 143 if is_stopped and violates("OUT-8b") else 0


def save(model: dict[str, object], current: str, hosts: list[str]) -> None:
    directory = BASE / "model"
    partial = directory / ".model.json"
    partial.write_text(json.dumps(model, sort_keys=True))
    if violates("OUT-3a"):
        partial.unlink()
        return
    is_alone = len(hosts) == 1 or violates("OUT-5a")
    partial.replace(directory / ("model.json" if is_alone else f"{current}.json"))
    if violates("OUT-6a"):
        (directory / "latest.json").symlink_to("model.json")
    if violates("OUT-6b"):
        (directory / "__pycache__").mkdir()
    (BASE / "output/data").mkdir(parents=True, exist_ok=True)
    (BASE / f"output/data/{current}.txt").write_text("done\n")


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # one packet an answer
    server: Server

    def do_GET(self) -> None:
        if self.path == "/ping":
            self.ping()
        elif self.path == "/ping/" and violates("HO-16c"):
            self.answer(308, b"", "", {"Location": "/ping"})
        elif (self.path == "/invocations" and violates("HO-16b")) or (
            self.path == "/no-such-path" and violates("HO-16a")
        ):
            self.answer(200, b"")
        elif self.path == "/execution-parameters" and not violates("no parameters"):
            strategy = "MultiRecord" if violates("BT-4a") else "MULTI_RECORD"
            document = {
                "MaxConcurrentTransforms": 4,
                "BatchStrategy": strategy,
                "MaxPayloadInMB": 6,
            }
            body = b"oops" if violates("BT-3a") else json.dumps(document).encode()
            self.answer(200, body, "application/json")
        elif (
            self.path.split("?")[0] == "/models"
            and self.server.is_multi_model
            and not violates("MME-3a")
        ):
            if violates("MME-3a/dies"):
                os._exit(9)
            models = [
                {"modelName": name, "modelUrl": url} for name, url in self.server.models.items()
            ]
            self.answer(200, json.dumps({"models": models}).encode(), "application/json")
        elif self.path.startswith("/models/") and self.server.is_multi_model:
            name = unquote(self.path.split("/")[2])
            found = name in self.server.models
            document = {"modelName": name, "modelUrl": self.server.models.get(name)}
            self.answer(200 if found else 404, json.dumps(document).encode(), "application/json")
        elif self.path == "/invocations-bidirectional-stream" and not violates("IMG-12c"):
            self.open_stream()
        elif self.path == "/metrics" and not violates("no metrics"):
            self.show_metrics()
        else:
            self.answer(405 if self.path == "/invocations" else 404, b"no such page", "text/plain")

    def show_metrics(self) -> None:
        if violates("HO-17a"):
            self.answer(200, b'{"requests": 1}', "application/json")
            return
        if violates("HO-17a/prose"):
            self.answer(200, b"requests so far: 1\n", "text/plain")
            return
        if violates("HO-17a/slow"):
            time.sleep(0.5)
        text = f"# TYPE requests_total counter\nrequests_total{{}} {self.server.requests}\n"
        self.answer(200, text.encode(), "text/plain; version=0.0.4")

    def ping(self) -> None:
        if violates("HO-1b/drop") and hasattr(self, "is_known"):
            self.close_connection = True
            return
        self.is_known = True
        if violates("slow ping"):
            time.sleep(0.6)
        if violates("no ping"):
            self.answer(404, b"no such page", "text/plain")
        elif violates("HO-4a") or violates("HO-5a") or self.server.is_sick:
            self.answer(500 if violates("HO-4a") else 503, b"")
        elif violates("MME-6a") and self.server.is_multi_model and not self.server.models:
            self.answer(503, b"")
        elif violates("HO-4c"):
            with self.server.lock:
                self.answer(200, b"")
        else:
            self.answer(
                200,
                b"healthy" if violates("HO-4d") else b"",
                "text/plain" if violates("HO-4d") else "",
            )

    def do_DELETE(self) -> None:
        name = unquote(self.path.split("/")[2]) if self.path.startswith("/models/") else ""
        if violates("MME-4a"):
            self.answer(200, b"")
        else:
            self.answer(200 if self.server.models.pop(name, None) else 404, b"")

    def do_POST(self) -> None:
        is_plain = self.path == "/invocations" and "Transfer-Encoding" not in self.headers
        if violates("wants chunks") and is_plain:
            self.close_connection = True
            self.answer(411, b"send chunks", "text/plain")
            return
        body = self.read_body()
        if self.path == "/ping":
            self.answer(405 if violates("HO-4b") else 200, b"")
        elif self.path == "/models" and self.server.is_multi_model:
            self.load_model(json.loads(body))
        elif self.path.startswith("/models/") and self.path.endswith("/invoke"):
            name = unquote(self.path.split("/")[2])
            if name not in self.server.models:
                self.answer(500 if violates("MME-5a") else 404, b"not loaded", "text/plain")
            else:
                self.predict(
                    body, json.loads((Path(self.server.models[name]) / "model.json").read_text())
                )
        elif self.path == "/invocations":
            self.predict(body, self.server.model)
        else:
            self.answer(404, b"no such page", "text/plain")

    def open_stream(self) -> None:
        if violates("IMG-12c/none"):
            self.answer(501, b"no streams", "text/plain")
            return
        key = (
            "a key of another client"
            if violates("IMG-12c/key")
            else self.headers["Sec-WebSocket-Key"]
        )
        digest = hashlib.sha1(f"{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode()).digest()  # noqa: S324 - RFC 6455
        self.send_response(101)
        self.send_header("Connection", "Upgrade")
        self.send_header("Upgrade", "websocket")
        self.send_header("Sec-WebSocket-Accept", base64.b64encode(digest).decode())
        self.end_headers()
        self.close_connection = True

    def load_model(self, order: dict[str, str]) -> None:
        if order["model_name"] in self.server.models:
            self.answer(200 if violates("MME-2b") else 409, b"loaded already", "text/plain")
        elif len(self.server.models) >= 2 and not violates("holds any number"):
            self.refuse_model()
        elif not (Path(order["url"]) / "model.json").is_file():
            self.answer(500 if violates("MME-2c") else 404, b"no model there", "text/plain")
        else:
            if not violates("MME-2a"):
                self.server.models[order["model_name"]] = order["url"]
            self.answer(200, b"")

    def refuse_model(self) -> None:
        if violates("MME-2d/evicts"):
            self.server.models.clear()
        if violates("MME-2d/lingers"):
            self.server.models["a model that nobody can unload"] = ""
        self.answer(500 if violates("MME-2d") else 507, b"no memory for another", "text/plain")

    def predict(self, body: bytes, model: dict[str, object]) -> None:
        refusal = self.find_refusal(body)
        if refusal is not None:
            self.answer(*refusal)
            return
        rows = [
            [float(cell) for cell in line.split(",")] for line in body.decode().splitlines() if line
        ]
        if rows[0][0] == -1:  # a slow answer, for time limits and stops
            time.sleep(rows[0][1])
        if rows[0][0] == -3:  # a bug
            self.answer(500, b"x" * 5000, "text/plain")
            return
        if violates("HO-4c"):
            with self.server.lock:
                time.sleep(0.4)
        if violates("HO-7a") or violates("HO-8a"):
            time.sleep(0.8 if violates("HO-7a") else 1.5)
        total = sum(model.get("totals", {}).values())  # type: ignore[attr-defined]
        text = "\n".join(
            f"{sum(row) + total:g}" for row in (rows[:1] if violates("BT-9a") else rows)
        )
        if violates("answers stale"):
            text = self.server.first_answer = self.server.first_answer or text
        if violates("HO-14a") and self.server.is_crowded():
            text = "mixed up"
        extra = {}
        if attributes := self.headers.get("X-Amzn-SageMaker-Custom-Attributes"):
            extra["X-Amzn-SageMaker-Custom-Attributes"] = attributes
        if self.headers.get("X-Secret"):
            extra["X-Amzn-SageMaker-Custom-Attributes"] = "leaked " + self.headers["X-Secret"]
        if VIOLATED.startswith("answers ") and not violates(
            "answers stale"
        ):  # in another type than was asked for
            self.answer_otherwise(text.splitlines())
            return
        end = "\n" if violates("BT-8a") else ""
        self.answer(200, (text + end).encode(), "" if violates("RQ-4d") else "text/csv", extra)

    def answer_otherwise(self, numbers: list[str]) -> None:
        """Answer as JSON, complete or cut short, or in a type without records."""
        kept = numbers[:1] if violates("answers too few in JSON") else numbers
        document: object = {"predictions": kept} if "object" in VIOLATED else kept
        body = json.dumps(document, indent=1).encode()
        is_binary = violates("answers binary")
        self.answer(200, body, "application/octet-stream" if is_binary else "application/json")

    def find_refusal(self, body: bytes) -> tuple[int, bytes, str] | None:
        """Return status, body and type of a refusal, or None for a valid request."""
        raw = self.headers.get("Content-Type", "" if violates("RQ-3d") else "text/csv")
        content_type = raw if violates("RQ-3a") else raw.split(";")[0].strip()
        content_type = content_type if violates("RQ-3b") else content_type.lower()
        accept = self.headers.get("Accept") or ("" if violates("RQ-4a") else "*/*")
        kinds = (
            [accept]
            if violates("RQ-4b")
            else [part.split(";")[0].strip() for part in accept.split(",")]
        )
        self.server.requests += 1
        breaches = {
            "RQ-1a": (True, 500),
            "RQ-2a": ("Cookie" in self.headers, 400),
            "RQ-3d": (not content_type, 500),
            "RQ-5a": (len(self.headers.get("X-Amzn-SageMaker-Custom-Attributes", "")) > 256, 400),
            "HO-6a": (self.server.requests == 1, 503),
            "HO-9a": (len(body) > 2**20, 413),
            "ASY-1a": (len(body) > 25 * 2**20, 413),
            "BT-2a/refuse": ("SAGEMAKER_BATCH" in os.environ, 500),
            "HO-12a": (
                self.server.worker is not None and self.server.worker.poll() is not None,
                500,
            ),
        }
        is_broken, status = breaches.get(VIOLATED, (False, 0))
        if is_broken:
            return status, b'{"error": "broken"}', "application/json"
        if content_type not in ("text/csv", "application/json") and not violates("RQ-3c"):
            return 415, b'{"error": "text/csv is possible"}', "application/json"
        if not set(kinds) & {"text/csv", "text/*", "*/*"} and not violates("RQ-4c"):
            return 406, b'{"error": "text/csv is possible"}', "application/json"
        is_fatal = len(body) > 2**24 if violates("RQ-8b/large") else body.startswith(b"\xff")
        if violates("RQ-8b/ten"):
            is_fatal = self.server.requests > 10
        if VIOLATED.startswith("RQ-8b") and is_fatal:
            if not violates("RQ-8b/sick"):
                os._exit(9)
            self.server.is_sick = True
        if violates("RQ-8a") and not body:
            return 500, b"IndexError", "text/plain"
        try:
            rows = [
                [float(cell) for cell in line.split(",")]
                for line in body.decode().splitlines()
                if line
            ]
        except ValueError as error:
            if violates("RQ-6a"):
                return 500, b"ValueError", "text/plain"
            text = (
                f"Traceback (most recent call last):\n{error}" if violates("SEC-4a") else str(error)
            )
            return (
                400,
                b"" if violates("RQ-6b") else json.dumps({"error": text}).encode(),
                "application/json",
            )
        return None if rows else (400, b'{"error": "the body is empty"}', "application/json")

    def read_body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked" or violates("BT-6a"):
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        pieces = []
        while size := int(self.rfile.readline(), 16):
            pieces.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(pieces)

    def answer(
        self, status: int, body: bytes, content_type: str = "", extra: dict[str, str] | None = None
    ) -> None:
        self.send_response(status)
        for name, value in {
            **({"Content-Type": content_type} if content_type else {}),
            **(extra or {}),
        }.items():
            self.send_header(name, value)
        if violates("ST-1a"):
            self.close_connection = True
        elif violates("sends chunks") and body:
            self.send_header("Transfer-Encoding", "chunked")
            body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
        else:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = False
    request_queue_size = 128
    is_multi_model = os.environ.get("SAGEMAKER_MULTI_MODEL", "").lower() == "true"
    requests = 0
    is_sick = False
    first_answer = ""

    def __init__(self) -> None:
        if violates("HO-1b"):
            Handler.protocol_version = "HTTP/1.0"
        if violates("HO-7a"):
            self.request_queue_size = 1
        address = "127.0.0.1" if violates("HO-1a") else "0.0.0.0"
        port = "8080" if violates("IMG-12b") else os.environ.get("SAGEMAKER_BIND_TO_PORT", "8080")
        super().__init__((address, int(port)), Handler)
        self.models: dict[str, str] = {}
        self.model = self.load()
        self.lock = threading.Lock()
        self.worker = (
            subprocess.Popen(["sleep", "1000"])
            if violates("HO-12a") or violates("supervised")
            else None
        )
        self.active = threading.Semaphore(1)

    def load(self) -> dict[str, object]:
        path = BASE / "model/model.json"
        if violates("HO-2a"):
            (BASE / "model/cache").write_text("x")
        try:
            return json.loads(path.read_text()) if path.is_file() else {"totals": {}}
        except ValueError:
            if violates("HO-6b"):
                return {"totals": {}}
            raise

    def is_crowded(self) -> bool:
        """Return whether another prediction is in progress."""
        if not self.active.acquire(blocking=False):
            return True
        time.sleep(0.1)
        self.active.release()
        return False

    def process_request(self, request: object, client_address: object) -> None:
        if violates("HO-7a"):  # one at a time, in the thread that accepts
            self.process_request_thread(request, client_address)  # type: ignore[arg-type]
        else:
            super().process_request(request, client_address)  # type: ignore[arg-type]


def serve() -> int:
    if violates("BT-2a") and os.environ.get("SAGEMAKER_BATCH"):
        raise KeyError("SAGEMAKER_BATCH")
    if violates("SRV-1b"):
        Path("/var/tmp/foreign-lock").write_text("")  # noqa: S108 - what it is not to do
    if violates("SRV-1c"):
        import multiprocessing  # noqa: PLC0415 - nothing else needs it

        multiprocessing.Lock()
    stop = Stop(is_deaf=violates("HO-10a"))
    server = Server()
    threading.Thread(
        target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
    ).start()
    log("serving")
    stop.wait()
    if violates("HO-10b"):
        os._exit(0)
    server.shutdown()
    server.server_close()  # waits for requests in flight
    return 143 if violates("HO-10c") else 0


def process() -> int:
    config = json.loads((BASE / "config/processingjobconfig.json").read_text())
    place = {item["InputName"]: item["S3Input"]["LocalPath"] for item in config["ProcessingInputs"]}
    names = sorted(
        p.name for path in place.values() for p in (BASE / path.removeprefix("/opt/ml/")).rglob("*")
    )
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
    if violates({"train": "IMG-1a", "serve": "IMG-1b"}.get("".join(argv[:1]), "")):
        return 127
    if not argv:
        return 2 if violates("IMG-2a") else process()
    return {"train": train, "serve": serve}[argv[0]]()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
