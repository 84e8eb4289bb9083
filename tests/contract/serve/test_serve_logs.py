"""The log of a running server under each worker class: what it contains, and what it must not."""

import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.support import ROOT, free_port, wait_until

ROW = b"0," * 63 + b"255"


def read_lines(server: Any) -> list[dict[str, Any]]:
    """Read the log's complete lines; each must be JSON, except those of LiteRT's own library."""
    lines = server.log.read_text().split("\n")[:-1]
    return [
        json.loads(line) for line in lines if not line.startswith("INFO: Created TensorFlow Lite")
    ]


@pytest.mark.parametrize("name", ["event", "gthread"])
def test_each_request_has_one_line_of_json_at_debug_without_anything_secret(
    serve: Any, name: str
) -> None:
    environ = {
        "SAGEMAKER_GUNICORN_WORKER_CLASS": name,
        "SAGEMAKER_MODEL_SERVER_WORKERS": "1",
        "SAGEMAKER_GUNICORN_LOGLEVEL": "debug",
        "BYO_LOG_FORMAT": "json",
    }
    with serve(**environ) as server:

        def list_requests(path: str) -> list[dict[str, Any]]:
            return [
                line
                for line in read_lines(server)
                if line["message"] == "request" and line["path"] == path
            ]

        secret = {"Authorization": "SECRET", "X-Amzn-SageMaker-Custom-Attributes": "SECRET"}
        identified = {
            "X-Amzn-SageMaker-Inference-Id": "i-7",
            "Content-Type": "text/csv; charset=utf-8",
        }
        answer = server.request("POST", "/invocations?SECRET=1", ROW, **identified, **secret)[2]
        refused = server.request(
            "POST", "/invocations", b"SECRET," + ROW, Content_Type="text/csv", **secret
        )[2]
        missing = server.request("GET", "/nothing?SECRET")[2]
        body = b"\n".join([ROW] * 2500)
        streamed = server.request(
            "POST", "/invocations", body, Content_Type="text/csv", Accept="application/jsonlines"
        )

        wait_until(lambda: len(list_requests("/invocations")) == 3)
        # A thread that has answered writes its line when it runs again.
        good, stream, bad = sorted(
            list_requests("/invocations"), key=lambda line: (line["status"], line["bytes_in"])
        )
        assert (good["method"], good["status"], good["bytes_in"]) == ("POST", 200, len(ROW))
        assert (good["bytes_out"], good["content_type"]) == (len(answer), "text/csv")
        assert (good["inference_id"], good["answer_type"]) == ("i-7", "application/json")
        assert good["ms"]["total"] >= good["ms"]["request"] >= good["ms"]["predict"] > 0
        assert {"decode", "encode"} < set(good["ms"])
        assert (bad["status"], bad["request_id"]) == (400, json.loads(refused)["request_id"])
        assert (stream["status"], stream["bytes_in"], stream["bytes_out"]) == (
            200,
            len(body),
            len(streamed[2]),
        )
        assert {"total", "decode", "predict", "encode", "request"} == set(stream["ms"])
        (nothing,) = list_requests("/nothing")
        assert (nothing["status"], nothing["request_id"]) == (
            404,
            json.loads(missing)["request_id"],
        )
        (reason,) = [
            line
            for line in read_lines(server)
            if line["message"] == "refused" and line["status"] == 400
        ]
        assert reason["request_id"] == bad["request_id"]
        assert reason["reason"].startswith("row 1")
        assert "SECRET" not in server.log.read_text()


def test_requests_have_no_lines_unless_they_are_asked_for(serve: Any) -> None:
    with serve(SAGEMAKER_MODEL_SERVER_WORKERS="1") as server:
        assert server.request("POST", "/invocations", ROW, Content_Type="text/csv")[0] == 200

        assert "/invocations" not in server.log.read_text()


def test_no_client_forges_a_line_of_the_log(
    serve: Any, artifact_base: Path, tmp_path: Path
) -> None:
    """SEC-4: paths, headers and names of models are a client's."""
    forged = "x%0a2026-11-28%2012:00:00,000%20INFO%201%20loaded%20model%20evil%1b[2J%e2%80%a8"
    shutil.copytree(artifact_base / "model", tmp_path / "models/a/model")
    environ = {"SAGEMAKER_MULTI_MODEL": "true", "SAGEMAKER_GUNICORN_LOGLEVEL": "debug"}
    with serve(base=tmp_path, **environ) as server:
        name = "x\n2026-11-28 12:00:00,000 INFO 1 loaded model evil"
        server.request("GET", f"/{forged}")
        server.request("DELETE", f"/models/{forged}")
        server.request("POST", f"/models/{forged}/invoke", b"1", Content_Type="x")
        server.request("POST", "/models", json.dumps({"model_name": name, "url": name}))
        url = str(tmp_path / "models/a/model")
        body = json.dumps({"model_name": name, "url": url})
        assert server.request("POST", "/models", body)[0] == 200
        lines = server.log.read_bytes().decode().splitlines()

    own = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} [A-Z]+ (\d+) ")
    processes = {found[1] for line in lines if (found := own.match(line))}
    assert "1" not in processes
    assert sum("loaded model evil" in line for line in lines) >= 4
    assert all(line.isprintable() for line in lines)


def test_log_that_nobody_reads_stalls_neither_pings_nor_the_master(artifact_base: Path) -> None:
    """HO-4: a log driver may stall; what it does not take is dropped and counted."""
    reader, writer = os.pipe()
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "container", "serve"],
        cwd=ROOT,
        env={
            **os.environ,
            "SAGEMAKER_BASE_DIR": str(artifact_base),
            "SAGEMAKER_BIND_TO_PORT": str(port),
            "SAGEMAKER_MODEL_SERVER_WORKERS": "1",
        },
        stdout=writer,
        stderr=writer,
    )
    os.close(writer)

    def ask(path: str, times: int = 1) -> tuple[set[int], bytes]:
        statuses = set()
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
            for _ in range(times):
                connection.request("GET", path)
                answer = connection.getresponse()
                statuses.add(answer.status)
                body = answer.read()
        return statuses, body

    def pings() -> bool:
        assert process.poll() is None
        try:
            return ask("/ping")[0] == {200}
        except OSError:
            return False

    def list_workers() -> list[str]:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        return children.read_text().split()

    try:
        wait_until(pings)
        # Each has a line of 2 kB: 64 kB are in the pipe, 1 MB waits.
        assert ask("/" + "a" * 3000, times=800)[0] == {404}
        assert pings()
        dropped = re.search(rb"\nserving_log_lines_dropped_total (\d+)\n", ask("/metrics")[1])
        assert dropped
        assert int(dropped[1]) > 0
        [worker] = list_workers()
        os.kill(int(worker), signal.SIGKILL)  # the master reports that, and starts another one
        wait_until(lambda: list_workers() not in ([], [worker]) and pings())
    finally:
        process.terminate()
        log = b""
        while piece := os.read(reader, 1 << 16):  # until the server has ended
            log += piece
        os.close(reader)
        process.wait(30)

    assert process.returncode == 0
    assert b"Worker (pid:" in log  # what waited came once the log was read again
