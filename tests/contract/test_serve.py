"""`python -m container serve` as the platform meets it: a process, a port, files, signals."""

import http.client
import io
import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

ROOT = Path(__file__).parents[2]
DIGITS = (load_digits().images * 15.9375).astype(np.uint8)


@pytest.fixture(scope="session")
def artifact_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a base directory whose `model/` holds an artefact, by a foreign program."""
    base = tmp_path_factory.mktemp("serve")
    program = [sys.executable, Path(__file__).with_name("make_artifact.py"), base / "model"]
    subprocess.run(program, check=True, env={**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"})
    return base


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(condition: Callable[[], bool], timeout_s: float = 30) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "the condition was not met in time"
        time.sleep(0.01)


class Server:
    """A running server: its process, its port and its log."""

    def __init__(self, base: Path, log: Path, **environ: str) -> None:
        """Start the server on the artefact below `base`."""
        self.port = free_port()
        self.log = log
        with log.open("wb") as stream:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "container", "serve"],
                cwd=ROOT,
                env={
                    **os.environ,
                    "SAGEMAKER_BASE_DIR": str(base),
                    "SAGEMAKER_BIND_TO_PORT": str(self.port),
                    "PYTHONDONTWRITEBYTECODE": "1",
                    **environ,
                },
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait_until_healthy(self) -> None:
        """Wait for the first 200 of /ping."""

        def is_healthy() -> bool:
            assert self.process.poll() is None, self.log.read_text()
            try:
                return self.request("GET", "/ping")[0] == 200
            except OSError:
                return False

        wait_until(is_healthy)

    def request(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, dict[str, str], bytes]:
        """Send one request on a connection of its own; give status, headers in lower case and body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body, {name.replace("_", "-"): text for name, text in headers.items()})
            answer = connection.getresponse()
            return answer.status, {name.lower(): text for name, text in answer.getheaders()}, answer.read()
        finally:
            connection.close()

    def worker_pids(self) -> list[int]:
        """List the master's children."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return [int(pid) for pid in children]


@contextmanager
def serve(base: Path, log: Path, **environ: str) -> Iterator[Server]:
    server = Server(base, log, **environ)
    try:
        server.wait_until_healthy()
        yield server
    finally:
        server.process.terminate()
        try:
            server.process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(server.process.pid, signal.SIGKILL)
            raise


@pytest.fixture(scope="module")
def server(artifact_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serve(artifact_base, tmp_path_factory.mktemp("log") / "log", SAGEMAKER_MODEL_SERVER_WORKERS="2") as running:
        yield running


@pytest.fixture(scope="session")
def keras_probabilities(artifact_base: Path) -> Any:
    """Ask Keras itself about every digit."""
    program = (
        "import sys, keras, numpy as np\n"
        "np.save(sys.argv[2], keras.models.load_model(sys.argv[1]).predict(np.load(sys.argv[3]), verbose=0))"
    )
    np.save(artifact_base / "images.npy", DIGITS[..., None])
    paths = [str(artifact_base / name) for name in ("model/model.keras", "probabilities.npy", "images.npy")]
    subprocess.run([sys.executable, "-c", program, *paths], check=True, env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"})
    return np.load(paths[1])


def to_npy(array: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def to_csv(images: Any) -> bytes:
    return b"".join(b",".join(b"%d" % pixel for pixel in image.ravel()) + b"\n" for image in images)


def test_ping_answers_get_and_post_with_200_and_nothing_else(server: Server) -> None:
    """HO-1, HO-4, HO-16."""
    for method in ("GET", "POST"):
        status, headers, body = server.request(method, "/ping")
        assert (status, body, headers.get("content-length")) == (200, b"", "0")
    for path in ("/ping/", "/", "/pin"):
        status, headers, _ = server.request("GET", path)
        assert status == 404
        assert "location" not in headers
    assert server.request("DELETE", "/ping")[0] == 405
    assert server.request("GET", "/invocations")[0] == 405


def test_every_digit_has_the_probabilities_that_keras_gives_in_every_media_type(
    server: Server, keras_probabilities: Any
) -> None:
    bodies = {
        "text/csv": to_csv(DIGITS),
        "application/json": json.dumps({"instances": DIGITS.reshape(len(DIGITS), -1).tolist()}).encode(),
        "application/x-npy": to_npy(DIGITS),
    }
    for content_type, body in bodies.items():
        status, headers, answer = server.request("POST", "/invocations", body, Content_Type=content_type)
        assert (status, headers["content-type"]) == (200, "application/json")
        document = json.loads(answer)
        assert np.abs(np.array(document["outputs"]) - keras_probabilities).max() < 1e-5
        assert [item["index"] for item in document["predictions"]] == keras_probabilities.argmax(axis=1).tolist()
        assert np.mean([item["label"] for item in document["predictions"]] == load_digits().target) > 0.9

        status, headers, answer = server.request(
            "POST", "/invocations", body, Content_Type=content_type, Accept="text/csv"
        )
        assert (status, headers["content-type"]) == (200, "text/csv")
        assert np.abs(np.loadtxt(io.BytesIO(answer), delimiter=",") - keras_probabilities).max() < 1e-5

        status, headers, answer = server.request(
            "POST", "/invocations", body, Content_Type=content_type, Accept="application/x-npy"
        )
        assert (status, headers["content-type"]) == (200, "application/x-npy")
        assert np.abs(np.load(io.BytesIO(answer)) - keras_probabilities).max() < 1e-5


def test_picture_has_the_probabilities_that_keras_gives(server: Server, keras_probabilities: Any) -> None:
    for index in (0, 1, 2):
        stream = io.BytesIO()
        Image.fromarray(DIGITS[index]).save(stream, "PNG")
        _, _, answer = server.request("POST", "/invocations", stream.getvalue(), Content_Type="image/png")
        assert np.abs(np.array(json.loads(answer)["outputs"]) - keras_probabilities[index]).max() < 1e-5


def test_client_that_divides_by_255_gets_the_same_answer(server: Server) -> None:
    rows = DIGITS[:5].reshape(5, -1)
    answers = [
        server.request("POST", "/invocations", json.dumps(body).encode(), Content_Type="application/json")[2]
        for body in (rows.tolist(), (rows / 255).tolist())
    ]
    assert answers[0] == answers[1]


@pytest.mark.parametrize(
    ("content_type", "accept", "body", "status", "part"),
    [
        ("text/csv", "", b"", 400, "empty"),
        ("text/csv", "", b"1,2,3", 400, "row 1 has 3 columns; 64 pixels"),
        ("text/csv", "", b"0," * 64 + b"0", 400, "row 1 has 65 columns"),
        ("text/csv", "", b"256," * 63 + b"0", 400, "row 1, column 1 is 256"),
        ("text/csv", "", b"0," * 63 + b"nan", 400, "row 1, column 64 is 'nan'"),
        ("application/json", "", b"[1, 2, 3]", 400, "shape [3]"),
        ("application/json", "", b"{", 400, "not JSON"),
        ("application/x-npy", "", to_npy(np.array([{}], dtype=object)), 400, "pickled"),
        ("image/png", "", b"\x89PNG\r\n\x1a\n", 400, "not a whole one"),
        ("text/plain", "", b"1", 415, "supported: text/csv"),
        ("text/csv", "image/png", b"1", 406, "possible: application/json"),
    ],
)
def test_request_at_fault_is_refused_with_its_reason(  # noqa: PLR0913, PLR0917 - one row of a table
    server: Server, content_type: str, accept: str, body: bytes, status: int, part: str
) -> None:
    """RQ-3, RQ-4, RQ-6, RQ-8."""
    found, headers, answer = server.request("POST", "/invocations", body, Content_Type=content_type, Accept=accept)

    assert (found, headers["content-type"]) == (status, "application/json")
    assert part in json.loads(answer)["error"]
    assert json.loads(answer)["request_id"] in server.log.read_text()
    assert server.request("GET", "/ping")[0] == 200


def test_chunked_body_is_read_to_its_end(server: Server) -> None:
    """BT-6."""
    body = to_csv(DIGITS[:200])
    pieces = (body[start : start + 1000] for start in range(0, len(body), 1000))

    status, _, answer = server.request("POST", "/invocations", pieces, Content_Type="text/csv")

    assert status == 200
    assert len(json.loads(answer)["outputs"]) == 200


def test_expect_100_continue_is_answered(server: Server) -> None:
    body = to_csv(DIGITS[:1])
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall(
            b"POST /invocations HTTP/1.1\r\nHost: a\r\nContent-Type: text/csv\r\nExpect: 100-continue\r\n"
            b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(body)
        )
        interim = connection.recv(25)
        assert interim == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 200")


def test_body_beyond_the_limit_is_413(artifact_base: Path, tmp_path: Path) -> None:
    """HO-9."""
    with serve(artifact_base, tmp_path / "log", SAGEMAKER_MAX_PAYLOAD_IN_MB="1") as server:
        status, _, answer = server.request("POST", "/invocations", bytes(1024**2 + 1), Content_Type="text/csv")

        assert status == 413
        assert "SAGEMAKER_MAX_PAYLOAD_IN_MB" in json.loads(answer)["error"]
        assert server.request("POST", "/invocations", bytes(1024**2), Content_Type="text/csv")[0] == 400


def test_model_directory_is_never_written(artifact_base: Path, tmp_path: Path) -> None:
    """HO-2."""
    shutil.copytree(artifact_base / "model", tmp_path / "model")
    before = sorted(path.stat().st_mtime_ns for path in [tmp_path / "model", *(tmp_path / "model").rglob("*")])
    for path in [*(tmp_path / "model").rglob("*"), tmp_path / "model"]:
        path.chmod(path.stat().st_mode & ~(stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH))

    with serve(tmp_path, tmp_path / "log") as server:
        assert server.request("POST", "/invocations", to_csv(DIGITS[:1]), Content_Type="text/csv")[0] == 200

    assert sorted(path.stat().st_mtime_ns for path in [tmp_path / "model", *(tmp_path / "model").rglob("*")]) == before


def test_artifact_one_directory_below_is_served(artifact_base: Path, tmp_path: Path) -> None:
    """HO-3, TRIP-21."""
    shutil.copytree(artifact_base / "model", tmp_path / "model/nested")

    with serve(tmp_path, tmp_path / "log") as server:
        assert server.request("POST", "/invocations", to_csv(DIGITS[:1]), Content_Type="text/csv")[0] == 200


def run_to_its_end(base: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "container", "serve"],
        cwd=ROOT,
        env={**os.environ, "SAGEMAKER_BASE_DIR": str(base), "SAGEMAKER_BIND_TO_PORT": str(free_port()), **environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_missing_model_ends_the_server_with_its_reason(tmp_path: Path) -> None:
    """HO-6, HO-12."""
    result = run_to_its_end(tmp_path)

    assert result.returncode == 1
    assert "model.json is expected" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("damage", ["truncated", "empty", "text"])
def test_damaged_model_ends_the_server_with_its_reason(artifact_base: Path, tmp_path: Path, damage: str) -> None:
    """HO-6."""
    shutil.copytree(artifact_base / "model", tmp_path / "model")
    path = tmp_path / "model/model.tflite"
    content = {"truncated": path.read_bytes()[: path.stat().st_size // 2], "empty": b"", "text": b"no model" * 99}
    path.write_bytes(content[damage])

    result = run_to_its_end(tmp_path)

    assert result.returncode == 1
    assert f"{path} cannot be loaded" in result.stderr


def test_wrong_settings_are_all_named_at_once(artifact_base: Path) -> None:
    result = run_to_its_end(
        artifact_base,
        SAGEMAKER_BIND_TO_PORT="80a",
        SAGEMAKER_MODEL_SERVER_WORKERS="0",
        SAGEMAKER_MAX_PAYLOAD_IN_MB="-1",
    )

    assert result.returncode == 1
    for name in (
        "SAGEMAKER_BIND_TO_PORT='80a'",
        "SAGEMAKER_MODEL_SERVER_WORKERS='0'",
        "SAGEMAKER_MAX_PAYLOAD_IN_MB='-1'",
    ):
        assert name in result.stderr
    assert "from 1 to 65535" in result.stderr


def test_sigterm_answers_the_request_in_flight_and_exits_0(artifact_base: Path, tmp_path: Path) -> None:
    """HO-10."""
    body = to_csv(np.concatenate([DIGITS] * 40))
    with serve(artifact_base, tmp_path / "log", SAGEMAKER_MODEL_SERVER_WORKERS="1") as server:
        answers: list[tuple[int, int]] = []

        def ask() -> None:
            status, _, answer = server.request("POST", "/invocations", body, Content_Type="text/csv", Accept="text/csv")
            answers.append((status, answer.count(b"\n")))

        with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
            head = b"POST /invocations HTTP/1.1\r\nHost: a\r\nContent-Type: text/csv\r\nAccept: text/csv\r\n"
            connection.sendall(head + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body[:-1])
            client = threading.Thread(target=ask)
            client.start()
            client.join()
            os.kill(server.process.pid, signal.SIGTERM)
            wait_until(lambda: "Handling signal: term" in server.log.read_text())
            connection.sendall(body[-1:])
            answer = b"".join(iter(lambda: connection.recv(1 << 20), b""))

        assert answers == [(200, len(DIGITS) * 40)]
        assert answer.startswith(b"HTTP/1.1 200")
        assert answer.partition(b"\r\n\r\n")[2].count(b"\n") == len(DIGITS) * 40
        assert server.process.wait(30) == 0


def test_killed_worker_is_replaced(artifact_base: Path, tmp_path: Path) -> None:
    """HO-6, HO-12."""
    with serve(artifact_base, tmp_path / "log", SAGEMAKER_MODEL_SERVER_WORKERS="1") as server:
        (pid,) = server.worker_pids()

        os.kill(pid, signal.SIGKILL)

        wait_until(lambda: server.worker_pids() not in ([], [pid]))
        server.wait_until_healthy()
        assert server.request("POST", "/invocations", to_csv(DIGITS[:1]), Content_Type="text/csv")[0] == 200


def test_import_path_of_the_server_holds_no_tensorflow_nor_training(server: Server) -> None:
    program = "from container.serving import app, server, worker; import sys; print(*sys.modules)"
    result = subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, capture_output=True, text=True)
    modules = result.stdout.split()
    assert {name.split(".")[0] for name in modules}.isdisjoint({"tensorflow", "keras", "PIL", "scipy", "sklearn"})
    assert {"container.training", "container.evaluation"}.isdisjoint(modules)

    server.request("POST", "/invocations", to_csv(DIGITS[:1]), Content_Type="text/csv")
    for pid in (server.process.pid, *server.worker_pids()):
        assert "/tensorflow/" not in Path(f"/proc/{pid}/maps").read_text()
