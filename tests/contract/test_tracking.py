"""Jobs are recorded in a real MLflow server, and by W&B's own client, offline (slow)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.environments import find_packages, install_apart
from tests.support import ROOT, free_port, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

SCRIPT = """
import os, sys
for epoch in (1, 2, 3):
    print(f"epoch={epoch}; train_loss={1 / epoch:.4f};", flush=True)
    print(f"validation_accuracy={epoch / 4};", file=sys.stderr, flush=True)
with open(os.environ["SM_MODEL_DIR"] + "/weights.txt", "w") as file:
    file.write("1 2 3")
"""
ALGORITHM = """
def train(job):
    for value in (0.5, 0.25):
        job.log_metrics(my_loss=value)
    (job.model_dir / "model.txt").write_text("x")
"""


class Server:
    """An MLflow server, and the environment of programs that log to it."""

    def __init__(self, url: str, environ: Mapping[str, str]) -> None:
        self.url = url
        self.environ = environ

    def ask(self, path: str, document: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Ask the REST API."""
        body = None if document is None else json.dumps(document).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.url}/api/2.0/mlflow/{path}", body, headers)
        with urllib.request.urlopen(request, timeout=60) as response:
            answer: dict[str, Any] = json.load(response)
        return answer

    def find_run(self, name: str) -> dict[str, Any]:
        """Return the run of a job."""
        experiments = self.ask("experiments/search", {"max_results": 50})["experiments"]
        ids = [experiment["experiment_id"] for experiment in experiments]
        runs = self.ask("runs/search", {"experiment_ids": ids})["runs"]
        [run] = [run for run in runs if run["info"]["run_name"] == name]
        return dict(run)

    def list_files(self, run: Mapping[str, Any], path: str) -> list[str]:
        """List the files below a directory of a run's artifacts."""
        identity = run["info"]["run_id"]
        answer = self.ask(f"artifacts/list?run_id={identity}&path={path}")
        return [Path(item["path"]).name for item in answer.get("files", ())]


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return a PYTHONPATH with the clients behind our own packages: used where we have none."""
    directory = tmp_path_factory.mktemp("path")
    text = f"import sys\nsys.path.append({str(find_packages('tracking'))!r})\n"
    (directory / "sitecustomize.py").write_text(text)
    return f"{directory}:{ROOT}"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, paths: str) -> Iterator[Server]:
    root = tmp_path_factory.mktemp("mlflow")
    home = install_apart("tracking")
    url = f"http://127.0.0.1:{(port := free_port())}"
    command = [
        *(home / "bin/mlflow", "server", "--host", "127.0.0.1", "--port", str(port)),
        *("--backend-store-uri", f"file://{root}/runs", "--workers", "1"),
        *("--artifacts-destination", f"{root}/artifacts"),
    ]
    environ = {**os.environ, "MLFLOW_ALLOW_FILE_STORE": "true"}
    with subprocess.Popen(command, cwd=root, env=environ) as process:

        def is_up() -> bool:
            assert process.poll() is None, "the server has ended"
            try:
                return urllib.request.urlopen(f"{url}/health", timeout=5).status == 200
            except OSError:
                return False

        try:
            wait_until(is_up, "the MLflow server answered", 300)
            yield Server(url, {"MLFLOW_TRACKING_URI": url, "PYTHONPATH": paths})
        finally:
            process.terminate()


def train(
    environ: Mapping[str, str], base: Path, name: str, **parameters: str
) -> subprocess.CompletedProcess:
    """Run `train` in a job directory."""
    place = base / "input/config/hyperparameters.json"
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(json.dumps(parameters))
    return subprocess.run(
        [sys.executable, "-m", "container", "train"],
        cwd=ROOT,
        env={
            **os.environ,
            **environ,
            "SAGEMAKER_BASE_DIR": str(base),
            "TRAINING_JOB_NAME": name,
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )


def get_values(run: Mapping[str, Any], what: str) -> dict[str, Any]:
    return {item["key"]: item["value"] for item in run["data"].get(what, ())}


def test_the_metric_lines_of_any_script(server: Server, tmp_path: Path) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "code/train.py").write_text(SCRIPT)

    given = {"lr": "0.1", "api_token": "hunter2secret", "a:b": "x"}
    done = train(server.environ, tmp_path, "any-script", **given)

    assert done.returncode == 0, done.stderr
    run = server.find_run("any-script")
    assert run["info"]["status"] == "FINISHED"
    params = get_values(run, "params")
    assert params["lr"] == "0.1"
    assert params["a_b"] == "x"
    assert "hunter2secret" not in json.dumps(run)
    metrics = get_values(run, "metrics")
    assert metrics == {"epoch": 3, "train_loss": 0.3333, "validation_accuracy": 0.75}
    identity = run["info"]["run_id"]
    history = server.ask(f"metrics/get-history?run_id={identity}&metric_key=train_loss")["metrics"]
    assert [(item["step"], item["value"]) for item in history] == [(1, 1), (2, 0.5), (3, 0.3333)]
    assert "weights.txt" in server.list_files(run, "model")
    assert "warning: MLflow" not in done.stderr


def test_log_metrics_of_a_typed_algorithm(server: Server, tmp_path: Path) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "code/algorithm.py").write_text(textwrap.dedent(ALGORITHM))

    environ = {**server.environ, "MLFLOW_EXPERIMENT_NAME": "mine"}
    done = train(environ, tmp_path, "typed")

    assert done.returncode == 0, done.stderr
    assert get_values(server.find_run("typed"), "metrics") == {"my_loss": 0.25}
    made = server.ask("experiments/get-by-name?experiment_name=mine")["experiment"]
    assert {"key": "mlflow.experimentKind", "value": "custom_model_development"} in made["tags"]


def test_the_bundled_network(server: Server, tmp_path: Path, formats: Path) -> None:
    (tmp_path / "input/data").mkdir(parents=True)
    (tmp_path / "input/data/training").symlink_to(formats / "csv")

    done = train(server.environ, tmp_path, "bundled", epochs="2")

    assert done.returncode == 0, done.stderr
    run = server.find_run("bundled")
    params = get_values(run, "params")
    assert params["epochs"] == "2"
    assert "batch_size" in params  # chosen by the network itself
    assert get_values(run, "metrics")["epoch"] == 2
    files = server.list_files(run, "model")
    assert {"model.json", "model.keras", "MLmodel"} <= set(files)
    tags = get_values(run, "tags")
    [logged] = json.loads(tags["mlflow.log-model.history"])  # whose signature MLflow's page shows
    assert (logged["artifact_path"], "uint8" in logged["signature"]["inputs"]) == ("model", True)
    assert (tags["mlflow.source.type"], tags["mlflow.source.name"]) == ("JOB", "bundled")
    shape = [-1, 8, 8, 1]
    probabilities = predict(server, f"runs:/{run['info']['run_id']}/model", shape[1:])
    assert len(probabilities) == 2
    assert all(abs(sum(row) - 1) < 1e-3 for row in probabilities)


PREDICTS = """
import json, sys
import mlflow
import numpy as np
uri, shape = sys.argv[1], json.loads(sys.argv[2])
model = mlflow.pyfunc.load_model(uri)
assert list(model.metadata.signature.inputs.inputs[0].shape) == [-1, *shape]
print(json.dumps(model.predict(np.zeros([2, *shape], np.uint8)).tolist()))
"""


def predict(server: Server, uri: str, shape: list[int]) -> list[list[float]]:
    """Load a recorded model as users of MLflow do, and predict with it."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PREDICTS, uri, json.dumps(shape)],
        env={**os.environ, **server.environ},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    answer: list[list[float]] = json.loads(done.stdout.splitlines()[-1])
    return answer


def test_a_failed_job_is_a_failed_run(server: Server, tmp_path: Path) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "code/train.py").write_text("print('loss=1;', flush=True)\nraise SystemExit(3)\n")

    done = train(server.environ, tmp_path, "failed")

    run = server.find_run("failed")
    assert done.returncode == 3
    assert (tmp_path / "output/failure").read_text()
    assert run["info"]["status"] == "FAILED"
    assert get_values(run, "metrics") == {"loss": 1}


def test_a_server_that_is_not_there_fails_the_job_before_it_starts(
    server: Server, tmp_path: Path
) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "code/train.py").write_text("print('started', flush=True)\n")
    environ = {**server.environ, "MLFLOW_TRACKING_URI": "http://127.0.0.1:9"}
    environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "1"

    done = train(environ, tmp_path, "nowhere")

    assert done.returncode == 1
    assert "started" not in done.stdout
    assert "no run can be created in MLflow" in (tmp_path / "output/failure").read_text()


READS = """
import json, sys
from pathlib import Path
from wandb.proto.wandb_internal_pb2 import Record

BLOCK, HEAD = 32768, 7  # the format of LevelDB's log, after a head of seven bytes


def read_records(data):
    at, record = HEAD, b""
    while at + HEAD <= len(data):
        if BLOCK - at % BLOCK < HEAD:  # no head fits into the rest of a block
            at += BLOCK - at % BLOCK
            continue
        length, kind = int.from_bytes(data[at + 4 : at + 6], "little"), data[at + 6]
        record += data[at + HEAD : at + HEAD + length]
        at += HEAD + length
        if kind in (1, 4):  # a record in one piece, or its last piece
            yield Record.FromString(record)
            record = b""


[file] = Path(sys.argv[1]).glob("output/data/wandb/offline-run-*/run-*.wandb")
rows, config, found = [], {}, {}
for record in read_records(file.read_bytes()):
    kind = record.WhichOneof("record_type")
    if kind == "history":
        items = [(item.key or "/".join(item.nested_key), item) for item in record.history.item]
        rows.append({key: json.loads(item.value_json) for key, item in items if item.value_json})
    elif kind == "run":
        found["name"] = record.run.display_name
        config |= {item.key: json.loads(item.value_json) for item in record.run.config.update}
    elif kind == "config":
        config |= {item.key: json.loads(item.value_json) for item in record.config.update}
    elif kind == "exit":
        found["exit_code"] = record.exit.exit_code
print(json.dumps({**found, "rows": rows, "config": config}))
"""


def read_offline(base: Path) -> dict[str, Any]:
    """Return what W&B would send of an offline run, read by its own code."""
    done = subprocess.run(
        [install_apart("tracking") / "bin/python", "-c", READS, base],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("code", [0, 3])
def test_weights_and_biases_offline(paths: str, tmp_path: Path, code: int) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "code/train.py").write_text(f"{SCRIPT}\nraise SystemExit({code})\n")
    environ = {"BYO_WANDB": "true", "WANDB_MODE": "offline", "PYTHONPATH": paths}

    given = {"lr": "0.1", "api_token": "hunter2secret"}
    done = train(environ, tmp_path, "by-wandb", **given)

    assert done.returncode == code, done.stderr
    assert "Weights & Biases: run " in done.stdout
    assert "warning: " not in done.stderr
    found = read_offline(tmp_path)
    assert found["name"] == "by-wandb"
    assert found["exit_code"] == int(code > 0)
    assert (found["config"]["lr"], found["config"]["api_token"]) == ("0.1", "***")
    losses = [(row["job_step"], row["train_loss"]) for row in found["rows"] if "train_loss" in row]
    assert losses == [(1, 1), (2, 0.5), (3, 0.3333)]
    assert [row for row in found["rows"] if row.get("validation_accuracy") == 0.75]
    links = [path for path in (tmp_path / "output").rglob("*") if path.is_symlink()]
    assert links == []
    assert "hunter2secret" not in json.dumps(found)


def test_a_server_of_wandb_that_is_not_there_fails_the_job_before_it_starts(
    paths: str, tmp_path: Path
) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "code/train.py").write_text("print('started', flush=True)\n")
    environ = {"BYO_WANDB": "true", "WANDB_API_KEY": "x" * 40, "PYTHONPATH": paths}
    environ["WANDB_BASE_URL"] = "http://127.0.0.1:9"

    done = train(environ, tmp_path, "nowhere")

    assert done.returncode == 1
    assert "started" not in done.stdout
    reason = (tmp_path / "output/failure").read_text()
    assert "no run can be created in Weights & Biases: " in reason
    assert "xxx" not in reason
    assert not (ROOT / "wandb").exists()
