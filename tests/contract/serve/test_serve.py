"""`python -m container serve` as the platform meets it: a process, a port, files, signals."""

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
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from container import contract, machine
from container.serving import plan
from container.serving.server_settings import Settings
from tests.support import ROOT, wait_until


def to_npy(array: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def to_csv(images: Any) -> bytes:
    return b"".join(b",".join(b"%d" % pixel for pixel in image.ravel()) + b"\n" for image in images)


def test_ping_answers_get_and_post_with_200_and_nothing_else(server: Any) -> None:
    """HO-1, HO-4, HO-5, HO-16, PIP-1: healthy within the fixture's time, on the given port."""
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
    server: Any, keras_probabilities: Any, images: Any, digits: Any
) -> None:
    bodies = {
        "text/csv": to_csv(images),
        "application/json": json.dumps(
            {"instances": images.reshape(len(images), -1).tolist()}
        ).encode(),
        "application/x-npy": to_npy(images),
    }
    for content_type, body in bodies.items():
        status, headers, answer = server.request(
            "POST", "/invocations", body, Content_Type=content_type
        )
        assert (status, headers["content-type"]) == (200, "application/json")
        document = json.loads(answer)
        assert np.abs(np.array(document["outputs"]) - keras_probabilities).max() < 1e-5
        assert [item["index"] for item in document["predictions"]] == keras_probabilities.argmax(
            axis=1
        ).tolist()
        assert (
            np.mean([item["label"] for item in document["predictions"]] == digits["test"][1]) > 0.9
        )

        status, headers, answer = server.request(
            "POST", "/invocations", body, Content_Type=content_type, Accept="text/csv"
        )
        assert (status, headers["content-type"]) == (200, "text/csv")
        assert (
            np.abs(np.loadtxt(io.BytesIO(answer), delimiter=",") - keras_probabilities).max() < 1e-5
        )

        status, headers, answer = server.request(
            "POST", "/invocations", body, Content_Type=content_type, Accept="application/x-npy"
        )
        assert (status, headers["content-type"]) == (200, "application/x-npy")
        assert np.abs(np.load(io.BytesIO(answer)) - keras_probabilities).max() < 1e-5


def test_picture_has_the_probabilities_that_keras_gives(
    server: Any, keras_probabilities: Any, images: Any
) -> None:
    for index in (0, 1, 2):
        stream = io.BytesIO()
        Image.fromarray(images[index]).save(stream, "PNG")
        _, _, answer = server.request(
            "POST", "/invocations", stream.getvalue(), Content_Type="image/png"
        )
        assert (
            np.abs(np.array(json.loads(answer)["outputs"]) - keras_probabilities[index]).max()
            < 1e-5
        )


def test_client_that_divides_by_255_gets_the_same_answer(server: Any, images: Any) -> None:
    rows = images[:5].reshape(5, -1)
    answers = [
        server.request(
            "POST", "/invocations", json.dumps(body).encode(), Content_Type="application/json"
        )[2]
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
        ("image/png", "", b"\x89PNG\r\n\x1a\n", 400, "not a complete one"),
        ("text/plain", "", b"1", 415, "supported: text/csv"),
        ("text/csv", "image/png", b"1", 406, "choose one of application/json"),
    ],
)
def test_request_at_fault_is_refused_with_its_reason(  # noqa: PLR0913, PLR0917 - one row of a table
    server: Any, content_type: str, accept: str, body: bytes, status: int, part: str
) -> None:
    """RQ-3, RQ-4, RQ-6, RQ-8."""
    found, headers, answer = server.request(
        "POST", "/invocations", body, Content_Type=content_type, Accept=accept
    )

    assert (found, headers["content-type"]) == (status, "application/json")
    assert part in json.loads(answer)["error"]
    assert json.loads(answer)["request_id"] in server.log.read_text()
    assert server.request("GET", "/ping")[0] == 200


def test_transform_job_is_served_as_the_platform_asks(images: Any, serve: Any) -> None:
    """BT-1, BT-2, BT-3, BT-4, BT-8, in the platform's order; local mode writes True."""
    with serve(SAGEMAKER_BATCH="True", SAGEMAKER_MODEL_SERVER_WORKERS="2") as server:
        status, headers, answer = server.request("GET", "/execution-parameters")
        assert (status, headers["content-type"]) == (200, "application/json")
        told = json.loads(answer)
        assert told == {
            "MaxConcurrentTransforms": 2,
            "BatchStrategy": "MULTI_RECORD",
            "MaxPayloadInMB": 6,
        }

        status, _, answer = server.request(
            "POST", "/invocations", to_csv(images[:10]), Content_Type="text/csv", Accept="text/csv"
        )
        assert (status, answer.count(b"\n"), answer[-1:]) == (200, 9, answer.strip()[-1:])


def test_workers_are_as_many_as_the_processors_that_the_server_may_use(serve: Any) -> None:
    """HO-13, IC-1."""
    allowed = os.sched_getaffinity(0)
    for cores in {1, min(2, len(allowed))}:
        try:
            os.sched_setaffinity(0, sorted(allowed)[:cores])
            with serve() as server:
                server.wait_until_all_workers_serve(cores)
                words = (
                    "with litert, which agreed with Keras: "
                    f"{cores} cores, {cores} workers, 1 threads each"
                )
                assert words in server.log.read_text()
        finally:
            os.sched_setaffinity(0, allowed)


@pytest.mark.parametrize(("memory_mb", "workers"), [(None, 8), (4096, 8), (150, 2), (10, 1)])
def test_workers_are_no_more_than_the_memory_holds(
    artifact_base: Path, monkeypatch: pytest.MonkeyPatch, memory_mb: int | None, workers: int
) -> None:
    """HO-13, IC-1."""
    monkeypatch.setattr(machine, "count_memory_bytes", lambda: memory_mb and memory_mb * 2**20)

    for settings, expected in ((Settings(), workers), (Settings(workers=5), 5)):
        planned = plan.make(contract.Layout(artifact_base), {}, settings, cores=8)
        assert planned.workers == expected


def test_chunked_body_is_read_to_its_end(server: Any, images: Any) -> None:
    """BT-6."""
    body = to_csv(images[:200])
    pieces = (body[start : start + 1000] for start in range(0, len(body), 1000))

    status, _, answer = server.request("POST", "/invocations", pieces, Content_Type="text/csv")

    assert status == 200
    assert len(json.loads(answer)["outputs"]) == 200


def test_expect_100_continue_is_answered(server: Any, images: Any) -> None:
    body = to_csv(images[:1])
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall(
            b"POST /invocations HTTP/1.1\r\nHost: a\r\nContent-Type: text/csv\r\n"
            b"Expect: 100-continue\r\n"
            b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(body)
        )
        interim = connection.recv(25)
        assert interim == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 200")


def test_body_beyond_the_limit_is_413(serve: Any) -> None:
    """HO-9."""
    with serve(SAGEMAKER_MAX_PAYLOAD_IN_MB="1") as server:
        status, _, answer = server.request(
            "POST", "/invocations", bytes(1024**2 + 1), Content_Type="text/csv"
        )

        assert status == 413
        assert "SAGEMAKER_MAX_PAYLOAD_IN_MB" in json.loads(answer)["error"]
        assert (
            server.request("POST", "/invocations", bytes(1024**2), Content_Type="text/csv")[0]
            == 400
        )


def test_model_directory_is_never_written(
    artifact_base: Path, tmp_path: Path, images: Any, serve: Any
) -> None:
    """HO-2."""
    shutil.copytree(artifact_base / "model", tmp_path / "model")
    before = sorted(
        path.stat().st_mtime_ns for path in [tmp_path / "model", *(tmp_path / "model").rglob("*")]
    )
    for path in [*(tmp_path / "model").rglob("*"), tmp_path / "model"]:
        path.chmod(path.stat().st_mode & ~(stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH))

    with serve(base=tmp_path) as server:
        assert (
            server.request("POST", "/invocations", to_csv(images[:1]), Content_Type="text/csv")[0]
            == 200
        )

    assert (
        sorted(
            path.stat().st_mtime_ns
            for path in [tmp_path / "model", *(tmp_path / "model").rglob("*")]
        )
        == before
    )


def test_artifact_one_directory_below_is_served(
    artifact_base: Path, tmp_path: Path, images: Any, serve: Any
) -> None:
    """HO-3, TRIP-21."""
    shutil.copytree(artifact_base / "model", tmp_path / "model/nested")

    with serve(base=tmp_path) as server:
        assert (
            server.request("POST", "/invocations", to_csv(images[:1]), Content_Type="text/csv")[0]
            == 200
        )


def test_missing_model_ends_the_server_with_its_reason(tmp_path: Path, run_to_its_end: Any) -> None:
    """HO-6, HO-12."""
    result = run_to_its_end(base=tmp_path)

    assert result.returncode == 1
    assert "holds no model that is served without code" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("damage", ["truncated", "empty", "text"])
def test_damaged_model_ends_the_server_with_its_reason(
    artifact_base: Path, tmp_path: Path, damage: str, run_to_its_end: Any
) -> None:
    """HO-6."""
    shutil.copytree(artifact_base / "model", tmp_path / "model")
    path = tmp_path / "model/model.tflite"
    content = {
        "truncated": path.read_bytes()[: path.stat().st_size // 2],
        "empty": b"",
        "text": b"no model" * 99,
    }
    path.write_bytes(content[damage])

    result = run_to_its_end(base=tmp_path)

    assert result.returncode == 1
    assert f"{path} cannot be loaded" in result.stderr


def test_wrong_settings_are_all_named_at_once(run_to_its_end: Any) -> None:
    """HO-11."""
    result = run_to_its_end(
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


def test_sigterm_answers_the_request_in_flight_and_exits_0(images: Any, serve: Any) -> None:
    """HO-10."""
    body = to_csv(np.concatenate([images] * 40))
    with serve(SAGEMAKER_MODEL_SERVER_WORKERS="1") as server:
        answers: list[tuple[int, int]] = []

        def ask() -> None:
            status, _, answer = server.request(
                "POST", "/invocations", body, Content_Type="text/csv", Accept="text/csv"
            )
            answers.append((status, answer.count(b"\n")))

        with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
            head = b"POST /invocations HTTP/1.1\r\nHost: a\r\n"
            head += b"Content-Type: text/csv\r\nAccept: text/csv\r\n"
            connection.sendall(
                head + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body[:-1]
            )
            client = threading.Thread(target=ask)
            client.start()
            client.join()
            os.kill(server.process.pid, signal.SIGTERM)
            wait_until(lambda: "Handling signal: term" in server.log.read_text())
            connection.sendall(body[-1:])
            answer = b"".join(iter(lambda: connection.recv(1 << 20), b""))

        assert answers == [(200, len(images) * 40)]
        assert answer.startswith(b"HTTP/1.1 200")
        assert answer.partition(b"\r\n\r\n")[2].count(b"\n") == len(images) * 40
        assert server.process.wait(30) == 0


def test_killed_worker_is_replaced(images: Any, serve: Any) -> None:
    """HO-6, HO-12."""
    with serve(SAGEMAKER_MODEL_SERVER_WORKERS="1") as server:
        (pid,) = server.worker_pids()

        os.kill(pid, signal.SIGKILL)

        wait_until(lambda: server.worker_pids() not in ([], [pid]))
        server.wait_until_healthy()
        assert (
            server.request("POST", "/invocations", to_csv(images[:1]), Content_Type="text/csv")[0]
            == 200
        )


def test_no_request_is_refused_after_the_first_200_while_another_worker_still_loads(
    tmp_path: Path, serve: Any
) -> None:
    """HO-6: with several clients, since a worker that loads must not be the least busy one."""
    (tmp_path / "base/model/code").mkdir(parents=True)
    (tmp_path / "base/model/code/inference.py").write_text(
        "import os, time\n"
        "def model_fn(model_dir):\n"
        "    try:\n        os.close(os.open(os.environ['FIRST'], os.O_CREAT | os.O_EXCL))\n"
        "    except FileExistsError:\n        time.sleep(3)\n"
        "def predict_fn(data, model):\n    time.sleep(0.01)\n    return data\n"
    )
    environ = {"SAGEMAKER_MODEL_SERVER_WORKERS": "2", "FIRST": str(tmp_path / "first")}
    with serve(base=tmp_path / "base", **environ) as server, ThreadPoolExecutor(4) as pool:

        def ask(_: int) -> int:
            return int(server.request("POST", "/invocations", b"1,2", Content_Type="text/csv")[0])

        assert set(pool.map(ask, range(200))) == {200}
        assert {server.request("GET", "/ping")[0] for _ in range(20)} == {200}


def test_workers_that_die_in_a_circle_end_the_server_with_its_reason(
    tmp_path: Path, run_to_its_end: Any
) -> None:
    """HO-12: the platform replaces what has ended, and keeps what starts and dies for ever."""
    (tmp_path / "model/code").mkdir(parents=True)
    (tmp_path / "model/code/inference.py").write_text(
        "import os\n"
        "def model_fn(model_dir):\n    os.kill(os.getpid(), 9)\n"
        "def predict_fn(data, model):\n    return data\n"
    )

    result = run_to_its_end(base=tmp_path)

    assert result.returncode == 5
    assert "10 workers died within 10 s of starting: the server stops" in result.stdout
    assert "Traceback" not in result.stdout + result.stderr


def test_import_path_of_the_server_holds_no_tensorflow_nor_training(
    server: Any, images: Any
) -> None:
    """HO-14: what does not survive a fork is in none of the processes."""
    program = (
        "from container.serving import app, server\n"
        "from container.serving.event_worker import worker\n"
        "import sys\n"
        "print(*sys.modules)"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, check=True, capture_output=True, text=True
    )
    modules = result.stdout.split()
    assert {name.split(".")[0] for name in modules}.isdisjoint(
        {"tensorflow", "keras", "PIL", "scipy", "sklearn", "asyncio"}
    )
    assert {"container.training", "container.evaluation"}.isdisjoint(modules)

    server.request("POST", "/invocations", to_csv(images[:1]), Content_Type="text/csv")
    for pid in (server.process.pid, *server.worker_pids()):
        assert "/tensorflow/" not in Path(f"/proc/{pid}/maps").read_text()
