"""Claim: handlers are served at 0.85 of constant answer + function, 3x as fast as the best peer.

Machine: everything, the load generator (wrk) included, on the same cores; read ratios. n: the
median of ROUNDS runs of SECONDS each; the servers take turns in each round; one runs at a time.

usage: handlers.py --python VENV/bin/python [--rounds 3] [--seconds 3] [--only HANDLER,...]
       [--peers NAME,...] [--connections 1,32]

VENV holds the packages of docker/requirements-serve.txt. To measure the other handlers, add scikit-
learn, xgboost, pandas and torch, and the peers: fastapi with uvicorn, flask with gunicorn,
litserve, bentoml and ray[serve]. The benchmark names the missing ones and skips them. The handler
`io` sleeps 20 ms; we run it as `async def` and with 16 threads, and 256 connections call it. The
handler `batch` runs the torch network through `predict_batch_fn`.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import math
import os
import re
import signal
import socket
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CORES = 2
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
"""For servers with a process for each core."""
_REST_S = 0.3
_REST_SHARE = 0.1  # of one core: below this an idle server is at rest

_COMMON = "import json\nimport numpy as np\n"
_LOAD = {
    "constant": "def load():\n    return None\ndef answer(model, rows):\n    return [0]\n",
    "scikit-learn": """
def load():
    from sklearn.linear_model import LogisticRegression
    generator = np.random.default_rng(0)
    return LogisticRegression().fit(generator.random((500, 20)), generator.integers(0, 3, 500))
def answer(model, rows):
    return model.predict_proba(np.asarray(rows)).tolist()
""",
    "xgboost": """
def load():
    import xgboost
    generator = np.random.default_rng(0)
    data = xgboost.DMatrix(generator.random((500, 20)), label=generator.integers(0, 2, 500))
    settings = {"objective": "binary:logistic", "nthread": 1}
    return xgboost.train(settings, data, num_boost_round=50)
def answer(model, rows):
    return model.inplace_predict(np.asarray(rows)).tolist()
""",
    "pandas": """
NAMES = [f"x{number}" for number in range(20)]
def load():
    import pandas as pd
    from sklearn.compose import ColumnTransformer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    generator = np.random.default_rng(0)
    frame = pd.DataFrame(generator.random((500, 20)), columns=NAMES)
    scale = ColumnTransformer([("scale", StandardScaler(), NAMES)])
    pipeline = make_pipeline(scale, LogisticRegression())
    return pipeline.fit(frame, generator.integers(0, 3, 500))
def answer(model, rows):
    import pandas as pd
    return model.predict_proba(pd.DataFrame(rows, columns=NAMES)).tolist()
""",
    "torch": """
def load():
    import torch
    torch.set_num_threads(1)
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Unflatten(1, (1, 28, 28)), torch.nn.Conv2d(1, 16, 3, stride=2), torch.nn.ReLU(),
        torch.nn.Conv2d(16, 32, 3, stride=2), torch.nn.ReLU(), torch.nn.Flatten(),
        torch.nn.Linear(32 * 36, 10)).eval()
def answer(model, rows):
    import torch
    with torch.inference_mode():
        return model(torch.tensor(rows, dtype=torch.float32)).tolist()
""",
    "io": """
import time
def load():
    return None
def answer(model, rows):
    time.sleep(0.02)
    return [0]
""",
}
_LOAD["batch"] = _LOAD["torch"]
_OURS = """
from program import load, answer
def model_fn(model_dir):
    return load()
def input_fn(data, content_type):
    return json.loads(data)
def predict_fn(data, model):
    return answer(model, data)
def output_fn(prediction, accept):
    return json.dumps(prediction), "application/json"
"""
_BATCH = """
from itertools import accumulate
def predict_batch_fn(requests, model):
    ends = list(accumulate(map(len, requests)))
    answers = answer(model, [row for rows in requests for row in rows])
    return [answers[end - len(rows):end] for rows, end in zip(requests, ends)]
"""
_ASYNC = """
import asyncio
def model_fn(model_dir):
    return None
async def transform_fn(model, data, content_type, accept):
    json.loads(data)
    await asyncio.sleep(0.02)
    return json.dumps([0]), "application/json"
"""
_SERVERS = {
    "fastapi": """
from fastapi import FastAPI, Request
app = FastAPI()
model = load()
def _call(rows):
    return answer(model, rows)
if NAME == "io":
    @app.post("/invocations")
    def invocations(rows: list[list[float]]):
        return _call(rows)
else:
    @app.post("/invocations")
    async def invocations(request: Request):
        return _call(await request.json())
""",
    "flask": """
import flask
app = flask.Flask(__name__)
model = load()
@app.post("/invocations")
def invocations():
    return flask.jsonify(answer(model, flask.request.get_json()))
""",
    "litserve": """
import sys
import litserve
class Api(litserve.LitAPI):
    def setup(self, device):
        self.model = load()
    def decode_request(self, request):
        return request["rows"] if isinstance(request, dict) else request
    def predict(self, rows):
        return answer(self.model, rows)
    def encode_response(self, output):
        return {"predictions": output}
if __name__ == "__main__":
    server = litserve.LitServer(
        Api(api_path="/invocations"), accelerator="cpu", workers_per_device=2, fast_queue=True)
    server.run(port=int(sys.argv[1]), generate_client_file=False, log_level="error")
""",
    "bentoml": """
import bentoml
@bentoml.service(workers=2)
class Service:
    def __init__(self):
        self.model = load()
    @bentoml.api(route="/invocations")
    def invocations(self, rows: list) -> list:
        return answer(self.model, rows)
""",
    "ray": """
import sys, time
from ray import serve
from starlette.requests import Request
@serve.deployment(num_replicas=2, max_ongoing_requests=64)
class Service:
    def __init__(self):
        self.model = load()
    async def __call__(self, request: Request):
        return answer(self.model, await request.json())
if __name__ == "__main__":
    serve.start(http_options={"port": int(sys.argv[1]), "host": "127.0.0.1"})
    serve.run(Service.bind(), route_prefix="/invocations")
    while True:
        time.sleep(3600)
""",
}
_NAMED_ROWS = ("litserve", "bentoml")
_NEEDS = {"pandas": ("pandas", "sklearn"), "scikit-learn": ("sklearn",), "batch": ("torch",)}


@dataclass
class Server:
    """One server of one handler."""

    name: str
    command: list[str]
    environ: dict[str, str]
    directory: Path
    body: bytes
    content_type: str = "application/json"
    rates: dict[int, list[float]] = field(default_factory=dict)
    middle_ms: dict[int, list[float]] = field(default_factory=dict)


def free_port() -> int:
    """Return a port of loopback that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def has(python: str, *modules: str) -> bool:
    """Return whether the environment has these modules."""
    command = [python, "-c", f"import {', '.join(modules)}"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def list_commands(python: str) -> dict[str, list[str]]:
    """Return how each peer is started; PORT stands for its port."""
    uvicorn = "uvicorn server:app --workers 2 --log-level error --port PORT"
    gunicorn = "gunicorn -w 2 -k gthread --threads 16 --log-level error -b 127.0.0.1:PORT"
    return {
        "fastapi": [python, "-m", *uvicorn.split()],
        "flask": [python, "-m", *gunicorn.split(), "server:app"],
        "litserve": [python, "server.py", "PORT"],
        "bentoml": [python, "-m", "bentoml", "serve", "server:Service", "--port", "PORT"],
        "ray": [python, "server.py", "PORT"],
    }


def make_servers(handler: str, python: str, peers: Sequence[str], scratch: Path) -> list[Server]:
    """Write the programs of one handler, and return its servers."""
    width = 784 if handler in ("torch", "batch") else 20
    rows = [[round(0.37 * place % 1, 3) for place in range(width)]]
    program = f"NAME = {handler!r}\n{_COMMON}{_LOAD[handler]}"
    servers = []

    def ours(name: str, code: str, **environ: str) -> None:
        directory = scratch / f"{handler}-{name.replace(' ', '-')}"
        (directory / "model/code").mkdir(parents=True)
        (directory / "model/code/program.py").write_text(program)
        (directory / "model/code/inference.py").write_text(_COMMON + code)
        settings = {
            "SAGEMAKER_BASE_DIR": str(directory),
            "SAGEMAKER_BIND_TO_PORT": "PORT",
            "SAGEMAKER_MODEL_SERVER_WORKERS": str(CORES),
            "BYO_QUEUE_REQUESTS": "1024",
            "PYTHONPATH": str(ROOT),
            **ONE_THREAD,
        }
        command = [python, "-m", "container", "serve"]
        body = json.dumps(rows).encode()
        servers.append(Server(name, command, settings | environ, directory, body))

    if handler == "io":
        ours("ours, async def", _ASYNC)
        ours("ours, 16 threads", _OURS, BYO_HANDLER_THREADS="16")
    else:
        ours("ours", _OURS)
    if handler == "batch":
        ours("ours, predict_batch_fn", _OURS + _BATCH)
        return servers
    commands = list_commands(python)
    for name in peers if handler != "constant" else ():
        directory = scratch / f"{handler}-{name}"
        directory.mkdir()
        (directory / "server.py").write_text(program + _SERVERS[name])
        body = json.dumps({"rows": rows} if name in _NAMED_ROWS else rows).encode()
        servers.append(Server(name, commands[name], ONE_THREAD, directory, body))
    return servers


@contextlib.contextmanager
def run(server: Server) -> Iterator[int]:
    """Run a server; yield its port once it answers."""
    port = free_port()
    command = [word.replace("PORT", str(port)) for word in server.command]
    own = {name: text.replace("PORT", str(port)) for name, text in server.environ.items()}
    environ = os.environ | own
    log_path = server.directory / "log"
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            command,
            cwd=server.directory,
            env=environ,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + 120
        while not answers(port, server):
            if time.monotonic() > deadline or process.poll() is not None:
                message = f"{server.name} does not answer: {log_path.read_text()[-2000:]}"
                raise OSError(message)
            time.sleep(0.1)
        wait_until_idle(process.pid, deadline)
        yield port
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def wait_until_idle(group: int, deadline: float) -> None:
    """Wait until the other workers have loaded too: a server's processes rest for a while.

    Raises: OSError if they do not before `deadline`, by `time.monotonic`.
    """
    before = -math.inf
    while (used_s := count_processor_s(group)) - before > _REST_SHARE * _REST_S:
        if time.monotonic() > deadline:
            message = f"the processes of group {group} do not become idle"
            raise OSError(message)
        before = used_s
        time.sleep(_REST_S)


def count_processor_s(group: int) -> float:
    """Return the processor time that the processes of a group have taken."""
    ticks = 0
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # the process has exited
            fields = path.read_text().rpartition(")")[2].split()
            if int(fields[2]) == group:
                ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def answers(port: int, server: Server) -> bool:
    """Return whether the server answers with 200."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        headers = {"Content-Type": server.content_type}
        connection.request("POST", "/invocations", server.body, headers)
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def load(server: Server, port: int, connections: int, seconds: float) -> None:
    """Ask for some seconds by wrk; note the rate and the middle latency."""
    script, body = server.directory / "post.lua", server.directory / "body"
    body.write_bytes(server.body)
    script.write_text(
        f'wrk.method = "POST"\nwrk.headers["Content-Type"] = "{server.content_type}"\n'
        f'wrk.body = io.open("{body}", "rb"):read("*a")\n'
    )
    url = f"http://127.0.0.1:{port}/invocations"
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "-s", str(script)]
    done = subprocess.run([*command, url], capture_output=True, text=True, check=True)
    found = re.search(r"Requests/sec:\s+([\d.]+)", done.stdout)
    middle = re.search(r"50%\s+([\d.]+)(us|ms|s)", done.stdout)
    if found is None or middle is None:
        message = f"wrk printed no rate: {done.stdout}"
        raise ValueError(message)
    wrong = re.search(r"Non-2xx or 3xx responses: (\d+)", done.stdout)
    if wrong:
        print(f"{server.name}: {wrong[1]} answers were errors")
    unit_ms = {"us": 0.001, "ms": 1.0, "s": 1000.0}[middle[2]]
    server.rates.setdefault(connections, []).append(float(found[1]))
    server.middle_ms.setdefault(connections, []).append(float(middle[1]) * unit_ms)


def measure_bare(handler: str, python: str, body: bytes, directory: Path) -> float:
    """Return the seconds of the function with its JSON, in a process that does nothing else."""
    (directory / "bare.py").write_text(
        f"NAME = {handler!r}\n{_COMMON}{_LOAD[handler]}\n"
        "import time\nmodel = load()\n"
        f"body = {body!r}\n"
        "times = []\n"
        "for _ in range(300):\n"
        "    started = time.perf_counter()\n"
        "    json.dumps(answer(model, json.loads(body)))\n"
        "    times.append(time.perf_counter() - started)\n"
        "print(sorted(times)[150])\n"
    )
    environ = os.environ | ONE_THREAD
    command = [python, "bare.py"]
    done = subprocess.run(
        command, cwd=directory, env=environ, capture_output=True, text=True, check=True
    )
    return float(done.stdout)


def report(handler: str, servers: Sequence[Server], bare_s: float, constant: float) -> None:
    """Print a row for each server."""
    print(f"\n{handler}: {bare_s * 1e6:.0f} us by itself")
    for server in servers:
        for connections, rates in server.rates.items():
            rate = statistics.median(rates)
            middle = statistics.median(server.middle_ms[connections])
            line = f"| {server.name} | c={connections} | {rate:.0f}/s | p50 {middle:.2f} ms |"
            if connections == 32 and constant:
                possible = 1 / (1 / constant + bare_s / CORES)
                line += f" {rate / possible:.2f} of constant + function |"
            print(line, flush=True)


def main() -> None:
    """Measure every handler on every server, in turns."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", required=True)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--only", default=",".join(name for name in _LOAD if name != "constant"))
    parser.add_argument("--peers", default=",".join(_SERVERS))
    parser.add_argument("--connections", default="1,32")
    asked = parser.parse_args()
    python = str(Path(asked.python).absolute())
    peers = [name for name in asked.peers.split(",") if name and has(python, name)]
    print("peers:", ", ".join(peers) or "none", "- left out:", set(_SERVERS) - set(peers))
    connections = [int(text) for text in asked.connections.split(",")]
    constant = 0.0
    with tempfile.TemporaryDirectory() as scratch:
        for handler in dict.fromkeys(("constant", *asked.only.split(","))):
            needed = _NEEDS.get(handler, (handler,) if handler in ("xgboost", "torch") else ())
            if needed and not has(python, *needed):
                print(f"{handler}: left out, {', '.join(needed)} is missing")
                continue
            servers = make_servers(handler, python, peers, Path(scratch))
            bare_s = measure_bare(handler, python, servers[0].body, Path(scratch))
            counts = [256] if handler == "io" else connections
            for _ in range(asked.rounds):
                for server in servers:
                    with run(server) as port:
                        for count in counts:
                            load(server, port, count, asked.seconds)
            if handler == "constant":
                constant = statistics.median(servers[0].rates.get(32, [0.0]))
            report(handler, servers, bare_s, constant)


if __name__ == "__main__":
    main()
