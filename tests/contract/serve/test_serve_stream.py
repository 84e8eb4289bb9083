"""Large answers in JSON lines are streamed (ST-1): the same bytes, in bounded memory."""

import contextlib
import http.client
import os
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from container import contract
from container.serving import plan
from container.serving.exchange import Request
from container.serving.server_settings import Settings
from container.serving.service import Service
from tests.support import ROOT, wait_until

HEADERS = {"Content-Type": "text/csv", "Accept": "application/jsonlines"}
HEAD = "".join(f"{name}: {text}\r\n" for name, text in HEADERS.items()).encode()

# Stands before the server's own start: predictions work until the switch is there.
SWITCH = """
import os
from container import predictor
from container.serving.event_worker import responder

predict = predictor.LiteRtPredictor.predict

def predict_until_the_switch(self, images):
    if os.path.exists(os.environ["SWITCH"]):
        raise RuntimeError("the model has a bug")
    return predict(self, images)

predictor.LiteRtPredictor.predict = predict_until_the_switch
responder._SILENCE_S = float(os.environ.get("SILENCE_S", "15"))
"""


def make_csv(images: Any, count: int) -> bytes:
    flat = np.resize(images.reshape(len(images), -1), (count, 64))
    return b"\n".join(b",".join(b"%d" % pixel for pixel in row) for row in flat)


@contextlib.contextmanager
def ask_without_reading(
    server: Any, body: bytes, version: bytes = b"1.1"
) -> Iterator[http.client.HTTPResponse]:
    """Send a request whose answer does not fit the kernel's buffers; yield its beginning."""
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(60)
        connection.connect(("127.0.0.1", server.port))
        connection.sendall(b"POST /invocations HTTP/%b\r\nHost: a\r\n" % version + HEAD)
        connection.sendall(b"Content-Length: %d\r\n\r\n" % len(body) + body)
        with http.client.HTTPResponse(connection) as response:
            response.begin()
            yield response


def read_metric(server: Any, name: str) -> float:
    lines = server.request("GET", "/metrics")[2].decode().splitlines()
    return float(dict(line.rsplit(" ", 1) for line in lines)[name])


@pytest.fixture(scope="module")
def large_body(images: Any) -> bytes:
    """Make a body whose answer, of 8 MB, no socket's buffers hold."""
    return make_csv(images, 40_000)


@pytest.fixture(scope="module")
def answer_whole(artifact_base: Path) -> Callable[[bytes], bytes]:
    """Return a function that answers a CSV body in JSON lines, in one piece."""
    layout = contract.Layout(artifact_base)
    application = Service(plan.make(layout, {}, Settings(), cores=1)).load()
    headers = {name.lower(): text for name, text in HEADERS.items()}

    def answer(body: bytes) -> bytes:
        response = application.invoke(Request(body, headers))
        assert (response.status, response.rest) == (200, None)
        return response.body

    return answer


@pytest.fixture
def serve_with_switch(serve: Any, tmp_path: Path) -> Callable[..., Any]:
    """Return a server of one worker whose predictions fail once the file `switch` exists."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site/sitecustomize.py").write_text(SWITCH)
    path = os.pathsep.join([str(tmp_path / "site"), str(ROOT)])
    environ = {
        "PYTHONPATH": path,
        "SWITCH": str(tmp_path / "switch"),
        "SAGEMAKER_MODEL_SERVER_WORKERS": "1",
    }
    return lambda **more: serve(**environ, **more)


def test_streamed_answer_is_the_whole_answer_byte_for_byte_in_every_shell(
    shells: Any, images: Any, answer_whole: Any
) -> None:
    """ST-1, ST-2: no digit depends on where the pieces end."""
    for count in (1, 33, 2500):
        body = make_csv(images, count)
        expected = answer_whole(body)
        for name, server in shells.items():
            status, headers, answer = server.request("POST", "/invocations", body, **HEADERS)
            assert (status, headers["content-type"]) == (200, "application/jsonlines")
            assert answer == expected, name
            assert count == 33 or ("transfer-encoding" in headers) == (count == 2500), name


def test_stream_begins_before_its_end_is_computed_and_waits_for_its_reader(
    serve: Any, images: Any, large_body: bytes, answer_whole: Any
) -> None:
    """ST-1: a request is counted at its end, which comes only after the client has read."""
    with (
        serve(SAGEMAKER_MODEL_SERVER_WORKERS="1") as server,
        ask_without_reading(server, large_body) as response,
    ):
        assert response.headers["Transfer-Encoding"] == "chunked"
        assert read_metric(server, 'serving_requests_total{status="200"}') == 0
        small = server.request("POST", "/invocations", make_csv(images, 1), Content_Type="text/csv")
        assert small[0] == 200
        assert server.request("GET", "/ping")[0] == 200
        assert read_metric(server, 'serving_requests_total{status="200"}') == 1

        assert response.read() == answer_whole(large_body)
        wait_until(lambda: read_metric(server, 'serving_requests_total{status="200"}') == 2)
        assert read_metric(server, "serving_batch_images_sum") == 40_001


def test_connection_is_used_again_after_a_stream(server: Any, images: Any) -> None:
    body = make_csv(images, 2500)
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    with contextlib.closing(connection):
        for _ in range(3):
            connection.request("POST", "/invocations", body, HEADERS)
            answer = connection.getresponse()
            assert answer.headers["Transfer-Encoding"] == "chunked"
            assert answer.read().count(b"\n") == 2500
            used = connection.sock
        assert connection.sock is used


def test_http_1_0_gets_the_stream_without_chunks(
    server: Any, images: Any, answer_whole: Any
) -> None:
    """ST-1: the end of the connection is that of the answer."""
    body = make_csv(images, 2500)
    with ask_without_reading(server, body, b"1.0") as response:
        assert "Transfer-Encoding" not in response.headers
        assert response.headers["Connection"] == "close"
        assert response.read() == answer_whole(body)


@pytest.mark.parametrize(
    ("version", "error"), [(b"1.1", http.client.IncompleteRead), (b"1.0", ConnectionResetError)]
)
def test_error_in_the_middle_breaks_the_connection_off_and_stands_in_the_log(
    serve_with_switch: Any,
    tmp_path: Path,
    large_body: bytes,
    version: bytes,
    error: type[Exception],
) -> None:
    """ST-1: the client must not take a part for the complete answer."""
    with serve_with_switch() as server:
        with ask_without_reading(server, large_body, version) as response:
            (tmp_path / "switch").touch()
            with pytest.raises(error):
                response.read()
        assert "RuntimeError: the model has a bug" in server.log.read_text()
        assert read_metric(server, 'serving_requests_total{status="500"}') == 1

        (tmp_path / "switch").unlink()
        assert (
            server.request(
                "POST", "/invocations", large_body[:10_000].rpartition(b"\n")[0], **HEADERS
            )[0]
            == 200
        )


def test_error_in_the_middle_is_seen_in_the_other_shell(
    serve_with_switch: Any, tmp_path: Path, large_body: bytes
) -> None:
    """ST-1."""
    with serve_with_switch(SAGEMAKER_GUNICORN_WORKER_CLASS="gthread") as server:
        with ask_without_reading(server, large_body) as response:
            (tmp_path / "switch").touch()
            with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
                response.read()
        assert "RuntimeError: the model has a bug" in server.log.read_text()


def test_reader_that_takes_nothing_is_left(serve_with_switch: Any, large_body: bytes) -> None:
    """ST-1: a stream holds a body's memory, so nobody may hold it for ever."""
    with (
        serve_with_switch(SILENCE_S="1") as server,
        ask_without_reading(server, large_body) as response,
    ):
        # The request is counted when the server gives up on the rest.
        wait_until(lambda: read_metric(server, 'serving_requests_total{status="200"}') == 1)
        with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
            response.read()


def test_client_that_leaves_a_stream_harms_nobody(serve: Any, large_body: bytes) -> None:
    with serve(SAGEMAKER_MODEL_SERVER_WORKERS="1", BYO_QUEUE_REQUESTS="1") as server:
        for count in (1, 2):
            with ask_without_reading(server, large_body):
                pass
            wait_until(
                lambda expected=count: read_metric(server, "serving_batch_images_count") == expected
            )


def test_sigterm_lets_a_stream_come_to_its_end(
    serve: Any, large_body: bytes, answer_whole: Any
) -> None:
    """HO-10."""
    with (
        serve(SAGEMAKER_MODEL_SERVER_WORKERS="1") as server,
        ask_without_reading(server, large_body) as response,
    ):
        os.kill(server.process.pid, signal.SIGTERM)
        wait_until(lambda: "Handling signal: term" in server.log.read_text())

        assert response.read() == answer_whole(large_body)
        assert server.process.wait(30) == 0
