"""Bidirectional streams (BI-1, BI-2), by a WebSocket client that is not ours."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from tests.contract.serve.conftest import run_server
from tests.support import USER_CODE, wait_until

PATH = "/invocations-bidirectional-stream"
STREAMS = 8
TIMEOUT_S = 2


@contextlib.contextmanager
def start(base: Path, name: str = "stream_inference.py", **environ: str) -> Iterator[Any]:
    code = base / "model/code"
    code.mkdir(parents=True)
    (code / "inference.py").write_text((USER_CODE / name).read_text())
    environ = {"SAGEMAKER_MODEL_SERVER_WORKERS": "1", **environ}
    with run_server(base, base / "log", **environ) as running:
        yield running


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    environ = {
        "SAGEMAKER_MODEL_SERVER_TIMEOUT": str(TIMEOUT_S),
        "BYO_QUEUE_REQUESTS": str(STREAMS),
        "SAGEMAKER_MAX_PAYLOAD_IN_MB": "1",
    }
    with start(tmp_path_factory.mktemp("streams"), **environ) as running:
        yield running


@pytest.fixture
def dial(server: Any) -> Iterator[Callable[..., ClientConnection]]:
    with ExitStack() as stack:

        def dial(path: str = PATH, **options: Any) -> ClientConnection:
            options = {"compression": None, "proxy": None, "close_timeout": 1, **options}
            client = connect(f"ws://127.0.0.1:{server.port}{path}", **options)
            return stack.enter_context(client)

        yield dial


def count_ended(server: Any) -> int:
    return int(server.request("POST", "/invocations", b"")[2].split()[0])


def count_made(server: Any) -> int:
    return int(server.request("POST", "/invocations", b"")[2].split()[1])


def metric(server: Any, line: str) -> float:
    page = server.request("GET", "/metrics")[2].decode()
    return next(float(text.split()[-1]) for text in page.splitlines() if text.startswith(line))


def read_close(client: ClientConnection) -> tuple[int, str]:
    with pytest.raises(ConnectionClosed) as caught:  # noqa: PT012 - whatever comes before it
        while True:
            client.recv(timeout=60)
    closed = caught.value.rcvd
    assert closed is not None, "the server closed without a close frame"
    return closed.code, closed.reason


def test_text_is_str_and_anything_else_bytes_and_a_message_comes_in_one_piece(dial: Any) -> None:
    client = dial()
    for part in ("echo", "echo \N{GRINNING FACE}", b"\x00\xff", b"", b"x" * 300_000):
        client.send(part)
        assert client.recv(timeout=60) == part
    client.send(["echo a", "b", "c"])  # payload parts that are PARTIAL, then COMPLETE
    assert client.recv(timeout=60) == "echo abc"
    client.send("count 3")
    assert [client.recv(timeout=60) for _ in range(3)] == ["0", "1", "2"]
    client.send("end")
    assert read_close(client) == (1000, "")


def test_the_handler_has_the_headers_and_the_path_is_the_clients(dial: Any) -> None:
    client = dial("/v1/listen?model=x", additional_headers={"X-Amzn-Thing": "seven"})
    client.send("header x-amzn-thing")
    assert client.recv(timeout=60) == "model seven"
    assert client.recv(timeout=60) == "header x-amzn-thing"


def test_streams_pings_and_invocations_are_served_at_the_same_time(server: Any, dial: Any) -> None:
    clients = [dial() for _ in range(STREAMS)]
    wait_until(lambda: metric(server, "serving_connections") >= STREAMS)

    def talk(client: ClientConnection) -> list[Any]:
        answers = []
        for number in range(20):
            client.send(f"echo {id(client)} {number}")
            answers.append(client.recv(timeout=60))
        return answers

    with ThreadPoolExecutor(STREAMS) as pool:
        answers = pool.map(talk, clients)
        assert server.request("GET", "/ping")[0] == 200
        assert server.request("POST", "/invocations", b"")[0] == 200
    for client, answer in zip(clients, answers, strict=True):
        assert answer == [f"echo {id(client)} {number}" for number in range(20)]

    with pytest.raises(InvalidStatus) as caught:
        dial()
    assert caught.value.response.status_code == 503
    assert caught.value.response.headers["Retry-After"] == "1"
    for client in clients:
        client.close()
    wait_until(lambda: metric(server, "serving_requests_in_flight") == 0)


@pytest.mark.parametrize(
    ("part", "code", "reason", "in_log"),
    [
        ("fail", 1011, "request id", "a secret of the stream"),
        ("cancel", 1011, "request id", "CancelledError"),
        ("wrong", 1011, "request id", "stream_fn yielded a int"),
        ("refuse", 1008, "send something else", "send something else"),
        ("sleep", 1011, "request id", "took more than 2 s"),
    ],
)
def test_a_handler_that_fails_ends_its_stream_with_the_reason(  # noqa: PLR0913, PLR0917 - a row
    server: Any, dial: Any, part: str, code: int, reason: str, in_log: str
) -> None:
    other = dial()
    ended = count_ended(server)
    client = dial()
    client.send(part)
    found, text = read_close(client)
    assert (found, reason in text, "secret" in text) == (code, True, False)
    wait_until(lambda: in_log in server.log.read_text())
    if code == 1011:
        assert text.rsplit(" ", 1)[1] in server.log.read_text()
    wait_until(lambda: count_ended(server) > ended)
    other.send("echo still here")
    assert other.recv(timeout=60) == "echo still here"


@pytest.mark.parametrize("how", ["close", "vanish", "at once"])
def test_a_client_that_leaves_ends_the_handler(server: Any, dial: Any, how: str) -> None:
    ended = count_ended(server)
    client = dial()
    if how != "at once":
        client.send("count 100000")
        client.recv(timeout=60)
    if how == "vanish":
        client.socket.close()
    else:
        client.close()
    wait_until(lambda: count_ended(server) > ended)
    wait_until(lambda: metric(server, "serving_requests_in_flight") == 0)


def test_a_slow_reader_slows_the_handler_down_and_gets_everything(server: Any, dial: Any) -> None:
    client = dial(max_queue=1)
    client.send("flood 600")  # 39 MB
    wait_until(lambda: count_made(server) > 1)
    made = count_made(server)
    assert made < 600, "replies are kept for a client that does not take them"
    for number in range(600):
        assert client.recv(timeout=60)[:4] == number.to_bytes(4, "big")
    client.send("echo")
    assert client.recv(timeout=60) == "echo"


def test_a_reader_that_takes_nothing_is_left(server: Any, dial: Any) -> None:
    ended = count_ended(server)
    client = dial(max_queue=1)
    client.send("flood 600")
    wait_until(lambda: count_ended(server) > ended)
    wait_until(lambda: metric(server, "serving_requests_in_flight") == 0)


def test_a_handler_that_cannot_be_cancelled_has_its_worker_replaced(server: Any, dial: Any) -> None:
    [worker] = server.worker_pids()
    client = dial()
    client.send("block")
    with pytest.raises(ConnectionClosed):
        client.recv(timeout=60)
    wait_until(lambda: server.worker_pids() not in ([worker], []))
    wait_until(lambda: server.request("GET", "/ping")[0] == 200)


def test_a_part_beyond_the_limit_closes_the_stream(dial: Any) -> None:
    client = dial()
    client.send(b"x" * (1 << 20))
    assert len(client.recv(timeout=60)) == 1 << 20
    with contextlib.suppress(ConnectionClosed):
        client.send(b"x" * ((1 << 20) + 1))
    assert read_close(client)[0] == 1009


@pytest.mark.parametrize(
    ("method", "headers", "status", "message", "answered"),
    [
        ("GET", {}, 426, "handshake", {"Upgrade": "websocket"}),
        ("HEAD", {}, 426, "", {"Upgrade": "websocket"}),
        ("POST", {"Upgrade": "websocket"}, 405, "POST", {"Allow": "GET, HEAD, OPTIONS"}),
        ("TRACE", {}, 405, "TRACE", {"Allow": "GET, HEAD, OPTIONS"}),
        ("OPTIONS", {}, 200, "", {"Allow": "GET, HEAD, OPTIONS"}),
        ("GET", {"Upgrade": "websocket", "Connection": "Upgrade"}, 400, "Sec-WebSocket-Key", {}),
    ],
)
def test_what_is_no_handshake_is_refused_with_the_reason(  # noqa: PLR0913, PLR0917 - a row
    server: Any,
    method: str,
    headers: dict[str, str],
    status: int,
    message: str,
    answered: dict[str, str],
) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    connection.request(method, PATH, headers=headers)
    answer = connection.getresponse()
    assert (answer.status, message in answer.read().decode()) == (status, True)
    for name, value in answered.items():
        assert sorted(answer.headers[name].split(", ")) == sorted(value.split(", "))
    connection.request("GET", "/ping")  # on the same connection
    assert connection.getresponse().status == 200
    connection.close()


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:1"])
def test_a_page_of_another_site_opens_no_stream(server: Any, dial: Any, origin: str) -> None:
    """A browser does not ask whether it may, and lets the page read everything."""
    with pytest.raises(InvalidStatus) as caught:
        dial(additional_headers={"Origin": origin})
    assert caught.value.response.status_code == 403
    client = dial(additional_headers={"Origin": f"http://127.0.0.1:{server.port}"})
    client.send("echo")
    assert client.recv(timeout=60) == "echo"


def test_sigterm_lets_the_handler_come_to_its_end(tmp_path: Path) -> None:
    """HO-10."""
    with start(tmp_path) as server:
        url = f"ws://127.0.0.1:{server.port}{PATH}"
        with connect(url, compression=None, proxy=None) as client:
            client.send("echo")
            assert client.recv(timeout=60) == "echo"
            os.kill(server.process.pid, signal.SIGTERM)
            assert client.recv(timeout=60) == "last words"
            assert read_close(client) == (1001, "the server stops")
        assert server.process.wait(60) == 0


@pytest.mark.parametrize(
    ("name", "environ", "message"),
    [
        ("slow_inference.py", {}, "stream_fn"),
        (
            "stream_inference.py",
            {"SAGEMAKER_GUNICORN_WORKER_CLASS": "gthread"},
            "unset SAGEMAKER_GUNICORN_WORKER_CLASS",
        ),
    ],
)
def test_a_server_without_streams_says_so(
    tmp_path: Path, name: str, environ: dict[str, str], message: str
) -> None:
    with start(tmp_path, name, **environ) as server:
        url = f"ws://127.0.0.1:{server.port}{PATH}"
        with pytest.raises(InvalidStatus) as caught, connect(url, proxy=None):
            pass
        assert caught.value.response.status_code == 501
        assert message in caught.value.response.body.decode()
        if environ:
            assert "bidirectional streams need the worker class event" in server.log.read_text()
