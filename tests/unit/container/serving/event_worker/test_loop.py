"""The event loop in this process, where a test needs a state that no client can bring about.

tests/contract/serve/test_serve_worker.py and test_serve_stream.py have the worker as its clients
meet it.
"""

from __future__ import annotations

import io
import json
import math
import os
import select
import socket
import sys
import time
from collections.abc import Callable, Iterator
from types import FrameType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from container.serving import inference
from container.serving.event_worker import connection as connections_module
from container.serving.event_worker.connection import COMPUTING, Connection, Connections
from container.serving.event_worker.lanes import Lanes
from container.serving.event_worker.loop import Loop
from container.serving.event_worker.responder import Responder
from container.serving.exchange import Request, Response
from container.serving.loads import Loads
from container.serving.server_settings import Settings
from container.serving.telemetry.metrics import Metrics
from tests.support import ROOT


def make_service(application: Any = None) -> Any:
    loads = Loads(1)
    loads.take()
    return SimpleNamespace(
        application=application,
        settings=Settings(),
        plan=SimpleNamespace(prediction_threads=1),
        loads=loads,
        metrics=Metrics(1, {}),
        computing_since=-math.inf,
    )


class Client:
    """A client whose connection is served by this process."""

    def __init__(self, application: Any, lane: Any) -> None:
        """`application` answers `/invocations`; `lane` computes what is not answered at once."""
        self.service = make_service(application)
        self.ours, self.socket = socket.socketpair(socket.AF_UNIX)
        self.epoll = select.epoll()
        self.connections = Connections(self.epoll, self.service.metrics, held_bytes_maximum=1 << 20)
        self.connection = Connection(self.ours, now=0)
        self.ours.settimeout(0)
        known = self.connections._by_descriptor  # noqa: SLF001 - as after an accept
        known[self.ours.fileno()] = self.connection
        self.epoll.register(self.ours, select.EPOLLIN)
        self.lanes = Lanes(self.service, self.connections, lane, wake=lambda: None)
        self.responder = Responder(self.service, self.connections, self.lanes)


@pytest.fixture
def make_client() -> Iterator[Callable[..., Client]]:
    clients: list[Client] = []

    def make(application: Any = None, lane: Any = None) -> Client:
        clients.append(Client(application, lane))
        return clients[-1]

    yield make
    for client in clients:
        client.socket.close()
        client.ours.close()
        client.epoll.close()


@pytest.mark.parametrize(("batch_began", "is_stuck"), [(-1, False), (-61, True), (-math.inf, True)])
def test_worker_whose_batches_go_on_is_not_replaced_for_requests_that_wait_for_theirs(
    batch_began: float,
    is_stuck: bool,
) -> None:
    """HO-8."""
    pipe = os.pipe()
    worker = SimpleNamespace(
        PIPE=pipe, sockets=[], alive=True, ppid=os.getppid(), notify=lambda: None
    )
    service = make_service(object())
    loop = Loop(worker, service)
    now = time.monotonic()
    service.computing_since = now + batch_began
    loop._predictions.started |= {1: now - 61, 2: now - 1}  # noqa: SLF001 - no thread is so old

    loop._sweep()  # noqa: SLF001 - what is tested

    assert worker.alive is not is_stuck
    assert loop.exit_status == is_stuck
    for descriptor in pipe:
        os.close(descriptor)


class ImmediateLane:
    """Runs a job before `submit` returns, as a thread may that runs before the loop's."""

    waiting = 1

    def submit(self, job: Callable[[], None], *, has_begun: bool = False) -> bool:
        """Run it."""
        assert not has_begun
        job()
        return True


def test_answer_that_is_there_before_the_loop_goes_on_is_sent_completely(
    make_client: Callable[..., Client],
) -> None:
    """It was once taken for that of a client that has gone, and an empty 200 was sent."""

    class Slow:
        def estimate_s(self, _: Any) -> float:
            return math.inf

        def invoke(self, _: Any) -> Response:
            return Response(200, b"complete")

    client = make_client(Slow(), ImmediateLane())
    client.connections.now = time.monotonic()
    client.socket.sendall(b"POST /invocations HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")

    client.responder.read(client.connection)
    assert client.connection.state is COMPUTING
    for connection, response in client.lanes.take_computed():
        client.responder.finish(connection, response)

    assert client.socket.recv(1000).endswith(b"\r\n\r\ncomplete")
    assert client.connection.state == "reading"


def test_connection_that_a_child_still_holds_gives_no_event_after_it_was_closed(
    make_client: Callable[..., Client],
) -> None:
    """A worker once died of it, while user code was starting a program."""
    client = make_client()
    held_by_a_child = os.dup(client.ours.fileno())

    client.connections.close(client.connection)
    client.socket.close()

    assert client.epoll.poll(0) == []
    os.close(held_by_a_child)


def test_stream_that_lasts_too_long_is_broken_off(
    make_client: Callable[..., Client], caplog: pytest.LogCaptureFixture
) -> None:
    """ST-1: the platform ends it after eight minutes."""
    client = make_client()
    client.connections.now = 481.0
    client.connection.stream = Response(200, b"1", rest=iter([b"2"]))
    client.connection.out = memoryview(b"the last of a piece")

    client.responder.write(client.connection)

    assert client.socket.recv(100) == b"the last of a piece"
    assert client.socket.recv(1) == b""
    assert len(client.connections) == 0
    assert 'serving_errors_total{kind="late"} 1\n' in client.service.metrics.render()
    assert "a streamed answer has taken more than 480 s" in caplog.text


def test_connection_that_has_been_reading_for_longest_gives_way(
    make_client: Callable[..., Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    client = make_client()
    assert client.connections.make_room()
    assert len(client.connections) == 1
    monkeypatch.setattr(client.connections, "_maximum", 1)

    assert client.connections.make_room()

    assert client.connection.state is connections_module.CLOSED
    assert len(client.connections) == 0


@pytest.mark.parametrize("content_type", ["application/x-npy", "text/csv", "application/json"])
def test_request_crosses_few_files_and_calls_from_socket_to_socket(
    content_type: str, make_client: Callable[..., Client]
) -> None:
    """The hot path: every layer on it is paid for by each request.

    A model adds one file, and three calls.
    """
    answer = np.full((1, 10), 0.1, np.float32)
    model = inference.Inference(
        lambda _: answer, input_shape=(8, 8, 1), classes=range(10), image_s=0.0
    )
    client = make_client(model)
    stream = io.BytesIO()
    np.save(stream, np.zeros((1, 64), np.uint8))
    body = {
        "application/x-npy": stream.getvalue(),
        "text/csv": b",".join([b"7"] * 64),
        "application/json": json.dumps([[7] * 64]).encode(),
    }[content_type]
    request = f"POST /invocations HTTP/1.1\r\nHost: a\r\nContent-Type: {content_type}\r\n"
    request += f"Content-Length: {len(body)}\r\n\r\n"
    calls: list[str] = []

    def note(frame: FrameType, event: str, argument: Any) -> None:
        if event == "c_call" and argument.__name__ == "recv":
            calls.clear()
        if event == "c_call" and argument.__name__ == "send":
            sys.setprofile(None)
        path = frame.f_code.co_filename
        if event == "call" and path.startswith(f"{ROOT}/container/"):
            calls.append(f"{path.removeprefix(f'{ROOT}/')} {frame.f_code.co_name}")

    for _ in range(3):  # media types are parsed once, and kept
        client.socket.sendall(request.encode() + body)
        sys.setprofile(note)
        client.responder.read(client.connection)
        sys.setprofile(None)
        assert client.socket.recv(1000).startswith(b"HTTP/1.1 200 OK\r\n")

    assert len({call.partition(" ")[0] for call in calls}) <= 6, calls
    assert len(calls) <= 30, calls


def test_connection_that_fails_is_closed_and_the_others_go_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """SEC-7: whatever answers, no connection ends the worker."""

    class Unsendable:
        def estimate_s(self, request: Request) -> float:
            return 0 if request.body == b"now" else math.inf

        def invoke(self, _: Any) -> Response:
            return Response(200, b"x", headers=(("X-Label", "\u65e5"),))

    pipe = os.pipe()
    os.set_blocking(pipe[0], False)
    worker = SimpleNamespace(
        PIPE=pipe, sockets=[], alive=True, ppid=os.getppid(), notify=lambda: None
    )
    loop = Loop(worker, make_service(Unsendable()))
    with socket.create_server(("127.0.0.1", 0)) as server:
        clients = [socket.create_connection(server.getsockname(), timeout=10) for _ in range(3)]
        for _ in clients:
            loop._connections.add(server.accept()[0])  # noqa: SLF001 - without a listener of gunicorn's
    head = b"POST /invocations HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n"
    clients[0].sendall(head + b"now")
    clients[1].sendall(head + b"off")
    deadline = time.monotonic() + 10
    while len(loop._connections) > 1:  # noqa: SLF001 - what is tested
        assert time.monotonic() < deadline
        loop._turn(0.05)  # noqa: SLF001 - what is tested

    clients[2].sendall(b"GET /ping HTTP/1.1\r\nHost: a\r\n\r\n")
    loop._turn(1)  # noqa: SLF001 - what is tested
    assert clients[2].recv(1000).startswith(b"HTTP/1.1 200 OK\r\n")
    assert [client.recv(1000) for client in clients[:2]] == [b"", b""]
    assert caplog.text.count("a connection failed and is closed") == 2
    for client in clients:
        client.close()
    for connection in loop._connections:  # noqa: SLF001 - its sockets
        loop._connections.close(connection)  # noqa: SLF001 - its sockets
    for descriptor in pipe:
        os.close(descriptor)


@pytest.mark.parametrize(("status", "has_length"), [(200, True), (204, False), (304, False)])
def test_status_without_a_body_has_no_length(
    make_client: Callable[..., Client], status: int, has_length: bool
) -> None:
    """SEC-7."""

    class Empty:
        def estimate_s(self, _: Any) -> float:
            return 0

        def invoke(self, _: Any) -> Response:
            return Response(status)

    client = make_client(Empty())
    client.socket.sendall(b"POST /invocations HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
    client.responder.read(client.connection)

    assert (b"Content-Length: 0\r\n" in client.socket.recv(1000)) is has_length
