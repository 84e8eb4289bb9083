"""The built CPU image under the platform's commands, mounts and signals."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.image.engine import (
    TEST_ROWS,
    address,
    docker,
    exit_code,
    read_test_rows,
    request,
    running,
    wait_until_healthy,
    write_job,
)
from tests.support import free_port, wait_until

pytestmark = [pytest.mark.image, pytest.mark.timeout(300)]


@pytest.fixture
def server(image: str, trained_job: Path) -> Iterator[str]:
    """Yield a container that serves the trained artifact, mounted read-only (HO-2)."""
    options = ("--volume", f"{trained_job}/model:/opt/ml/model:ro", "--publish", "127.0.0.1::8080")
    with running(image, "serve", options=options) as container:
        wait_until_healthy(container)
        yield container


def test_train_in_a_container_leaves_a_loadable_artifact(trained_job: Path) -> None:
    manifest = json.loads((trained_job / "model/model.json").read_text())
    assert manifest["classes"] == list(range(10))
    assert manifest["input_shape"] == [8, 8, 1]
    assert not (trained_job / "output/failure").exists()
    assert json.loads((trained_job / "output/data/metrics.json").read_text())["accuracy"] >= 0.95


def test_serve_in_a_container_predicts_what_the_process_predicts(
    server: str, trained_job: Path, checkout: Path
) -> None:
    rows = read_test_rows(trained_job)
    status, from_image = request(f"{wait_until_healthy(server)}/invocations", rows)
    assert status == 200
    port = free_port()
    environ = {
        **os.environ,
        "SAGEMAKER_BASE_DIR": str(trained_job),
        "SAGEMAKER_BIND_TO_PORT": str(port),
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "container", "serve"], cwd=checkout, env=environ
    )
    try:
        url = f"http://127.0.0.1:{port}"
        wait_until(lambda: request(f"{url}/ping")[0] == 200)
        status, from_process = request(f"{url}/invocations", rows)
    finally:
        process.terminate()
        process.wait(30)
    assert status == 200
    ours, theirs = json.loads(from_image), json.loads(from_process)
    assert len(ours["predictions"]) == TEST_ROWS
    assert [p["label"] for p in ours["predictions"]] == [p["label"] for p in theirs["predictions"]]
    assert [pytest.approx(row, abs=1e-6) for row in theirs["outputs"]] == ours["outputs"]


def test_stopping_the_server_answers_the_request_in_flight_first(
    server: str, trained_job: Path
) -> None:
    rows = read_test_rows(trained_job)
    with socket.create_connection(address(server), timeout=60) as connection:
        connection.sendall(
            b"POST /invocations HTTP/1.1\r\nHost: model.aws.local:8080\r\n"
            b"Content-Type: text/csv\r\nExpect: 100-continue\r\n"
            b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(rows)
        )
        assert connection.recv(100).startswith(b"HTTP/1.1 100")
        connection.sendall(rows[:1000])
        stop = threading.Thread(target=docker, args=("stop", "--time", "30", server))
        stop.start()
        wait_until(
            lambda: request("http://{}:{}/ping".format(*address(server)), timeout_s=2)[0] != 200
        )
        connection.sendall(rows[1000:])
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    stop.join()
    assert answer.startswith(b"HTTP/1.1 200")
    assert len(json.loads(answer.partition(b"\r\n\r\n")[2])["predictions"]) == TEST_ROWS
    assert exit_code(server) == 0


def test_stopping_a_training_job_leaves_a_loadable_artifact_and_exit_code_0(
    image: str, tmp_path: Path
) -> None:
    base = write_job(tmp_path / "ml", {"epochs": "100000"})
    with running(image, "train", options=("--volume", f"{base}:/opt/ml")) as container:
        wait_until(lambda: re.search(r"\bepoch=[1-9]", docker("logs", container)), timeout_s=120)
        docker("stop", "--time", "120", container)
        log = docker("logs", container)
        assert exit_code(container) == 0, log
    assert not (base / "output/failure").exists(), log
    options = ("--volume", f"{base}/model:/opt/ml/model:ro", "--publish", "127.0.0.1::8080")
    with running(image, "serve", options=options) as container:
        status, body = request(f"{wait_until_healthy(container)}/invocations", read_test_rows(base))
    assert status == 200, body


def test_evaluate_in_a_container_writes_the_report_of_a_processing_job(
    image: str, trained_job: Path, tmp_path: Path
) -> None:
    config = tmp_path / "config"
    config.mkdir()
    request_body = {
        "ProcessingInputs": [
            {"InputName": "model", "S3Input": {"LocalPath": "/opt/ml/processing/input/model"}},
            {"InputName": "test", "S3Input": {"LocalPath": "/opt/ml/processing/input/test"}},
        ],
        "ProcessingOutputConfig": {
            "Outputs": [
                {
                    "OutputName": "evaluation",
                    "S3Output": {"LocalPath": "/opt/ml/processing/output/evaluation"},
                }
            ]
        },
    }
    (config / "processingjobconfig.json").write_text(json.dumps(request_body))
    (config / "resourceconfig.json").write_text('{"current_host": "algo-1", "hosts": ["algo-1"]}')
    output = tmp_path / "evaluation"
    output.mkdir()
    mounts = {
        config: "config",
        trained_job / "model": "processing/input/model",
        trained_job / "input/data/testing": "processing/input/test",
        output: "processing/output/evaluation",
    }
    options = [
        part for host, inside in mounts.items() for part in ("--volume", f"{host}:/opt/ml/{inside}")
    ]
    with running(image, options=tuple(options)) as container:  # IMG-2: no argument
        code = exit_code(container)
        log = docker("logs", container)
    assert code == 0, log
    assert json.loads((output / "metrics.json").read_text())["accuracy"] >= 0.95
    assert "<html" in (output / "report.html").read_text()


def test_a_failed_job_ends_with_1_and_tells_its_cause(image: str, tmp_path: Path) -> None:
    base = write_job(tmp_path / "ml", {"epochs": "ten"})
    with running(image, "train", options=("--volume", f"{base}:/opt/ml")) as container:
        assert exit_code(container) == 1
    assert "epochs='ten'" in (base / "output/failure").read_text()[:1024]


@pytest.mark.parametrize(
    ("command", "code", "words"),
    [
        ((), 2, "usage: python -m container train | evaluate | serve"),
        (("--help",), 0, "usage: python -m container train | evaluate | serve"),
        (
            ("no-such-command",),
            2,
            "'no-such-command' is neither a command of this program nor an executable on PATH",
        ),
        (("bash", "-c", "echo from bash; exit 7"), 7, "from bash"),
        (("python", "-c", "import os; print('pid', os.getpid())"), 0, "pid 1"),
        (("pip", "check"), 0, "No broken requirements found."),
    ],
)
def test_the_entry_point_takes_any_command(
    image: str, command: tuple[str, ...], code: int, words: str
) -> None:
    with running(image, *command) as container:
        assert (exit_code(container), words in docker("logs", container)) == (code, True)


def test_the_image_says_what_it_is(image: str) -> None:
    config = json.loads(docker("inspect", image))[0]["Config"]
    # The exec form: signals reach Python (IMG-4).
    assert config["Entrypoint"] == ["python", "-m", "container"]
    assert not config["Cmd"]
    assert config["User"] == ""  # IMG-6
    assert "8080/tcp" in config["ExposedPorts"]
    environ = dict(pair.split("=", 1) for pair in config["Env"])
    assert environ["PYTHONUNBUFFERED"] == "1"  # IMG-14
    assert environ["PYTHONDONTWRITEBYTECODE"] == "1"  # HO-2
    labels = config["Labels"]
    assert labels["com.amazonaws.sagemaker.capabilities.accept-bind-to-port"] == "true"  # IMG-12
    assert labels["com.amazonaws.sagemaker.capabilities.multi-models"] == "true"
    assert labels["com.amazonaws.sagemaker.capabilities.bidirectional-streaming"] == "true"  # BI-1
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"
    program = docker(
        "run", "--rm", image, "python", "-c", "import container; print(container.__version__)"
    )
    assert labels["org.opencontainers.image.version"] == program.strip()


def test_the_image_holds_no_compiler_cache_or_set_user_id_program(image: str) -> None:
    script = """
        for tool in cc gcc g++ clang c++ ld as strip make; do command -v $tool; done
        find / -xdev -type f \\( -perm /6000 -o -name '*.whl' -path '*/pip/*' \\)
        find /var/lib/apt/lists /var/cache/apt /root/.cache -type f -not -name lock 2>/dev/null
        find /opt -newermt 1970-01-02
        true
    """
    assert docker("run", "--rm", image, "bash", "-c", script) == ""
