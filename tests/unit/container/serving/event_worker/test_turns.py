"""What one client can take of a turn of the loop, and how long it can hold what it was sent."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from container.serving.event_worker import connection as states
from container.serving.event_worker import responder
from container.serving.event_worker.connection import Connection
from container.serving.event_worker.loop import Loop
from container.serving.exchange import Response
from container.serving.server_settings import Settings
from tests.unit.container.serving.event_worker.test_loop import make_service

PING = b"GET /ping HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST /invocations HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"
CHUNKED = b"POST /invocations HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"


class Slow:
    """Takes longer than a turn for each request, on the loop."""

    answered = 0

    def estimate_s(self, _: Any) -> float:
        """Claim to be quick."""
        return 0

    def invoke(self, _: Any) -> Response:
        """Answer after a while."""
        self.answered += 1
        time.sleep(0.01)
        return Response(200, b"ok")


class Large:
    """Answers more than a socket takes."""

    body = bytes(32 << 20)

    def estimate_s(self, _: Any) -> float:
        """Be quick."""
        return 0

    def invoke(self, _: Any) -> Response:
        """Answer."""
        return Response(200, self.body)


class Worker:
    """A loop on a real epoll set, and clients of it."""

    def __init__(self, application: Any, settings: Settings = Settings()) -> None:  # noqa: B008 - frozen
        self.pipe = os.pipe()
        for descriptor in self.pipe:
            os.set_blocking(descriptor, False)
        process = SimpleNamespace(
            PIPE=self.pipe, sockets=[], alive=True, ppid=os.getppid(), notify=lambda: None
        )
        self.process: Any = process
        self.service = make_service(application)
        self.service.settings = settings
        self.loop = Loop(process, self.service)
        self.connections = self.loop._connections  # noqa: SLF001 - a test of the loop's inside
        self.server = socket.create_server(("127.0.0.1", 0))
        self.clients: list[socket.socket] = []

    def connect(self) -> tuple[socket.socket, Connection]:
        """Return a client's socket and our side of it."""
        client = socket.create_connection(self.server.getsockname(), timeout=10)
        self.clients.append(client)
        return client, self.connections.add(self.server.accept()[0])

    def turn(self) -> None:
        """Have one turn."""
        self.loop._turn(0.05)  # noqa: SLF001 - what is tested

    def close(self) -> None:
        """Close every descriptor."""
        for connection in self.connections:
            self.connections.close(connection)
        for client in (*self.clients, self.server):
            client.close()
        for descriptor in self.pipe:
            os.close(descriptor)


@pytest.fixture
def worker(request: pytest.FixtureRequest) -> Iterator[Worker]:
    made = Worker(request.param())
    yield made
    made.close()


@pytest.mark.parametrize("worker", [Slow], indirect=True)
def test_pipelined_requests_are_answered_one_a_turn_once_the_turn_is_over(worker: Worker) -> None:
    client, ours = worker.connect()
    client.sendall(POST * 50)
    other, _ = worker.connect()

    worker.turn()
    answered = worker.service.application.answered
    assert answered == 1
    other.sendall(PING)
    worker.turn()

    assert other.recv(1000).startswith(b"HTTP/1.1 200 OK\r\n")
    assert worker.service.application.answered <= answered + 2
    while worker.connections.postponed:
        worker.turn()
    assert worker.service.application.answered == 50
    assert ours.state is states.READING
    received = b""
    while received.count(b"HTTP/1.1 200") < 50:
        received += client.recv(1 << 20)
    client.sendall(PING)  # it is read from again
    worker.turn()
    assert client.recv(1000).startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize("worker", [Slow], indirect=True)
def test_nothing_is_read_of_a_client_whose_requests_wait(worker: Worker) -> None:
    client, ours = worker.connect()
    client.sendall(POST * 3)
    worker.turn()
    client.sendall(POST * 3)
    waiting = len(ours.buffer)

    worker.turn()

    assert len(ours.buffer) == waiting - len(POST)
    assert worker.service.application.answered == 2
    while worker.connections.postponed or worker.service.application.answered < 6:
        worker.turn()


@pytest.mark.parametrize("worker", [Slow], indirect=True)
def test_tiny_chunks_leave_the_turn_to_others(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(responder, "_TURN_S", -1.0)  # as if others had taken the turn
    client, ours = worker.connect()
    client.sendall(CHUNKED + b"1\r\nz\r\n" * 2000 + b"0\r\n\r\n")
    worker.turn()
    turns = 1
    while ours.head is not None:
        assert worker.connections.postponed
        worker.turn()
        turns += 1

    assert turns >= 2000 / 300
    assert client.recv(1000).startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize("worker", [Slow], indirect=True)
def test_client_that_leaves_while_its_requests_wait_is_forgotten(worker: Worker) -> None:
    client, ours = worker.connect()
    client.sendall(POST * 5)
    worker.turn()
    assert worker.connections.postponed
    worker.connections.close(ours)

    worker.turn()

    assert not worker.connections.postponed
    assert worker.service.application.answered == 1


@pytest.mark.parametrize("worker", [Large], indirect=True)
def test_client_that_takes_an_answer_byte_by_byte_is_closed_in_the_end(worker: Worker) -> None:
    client, ours = worker.connect()
    client.sendall(POST)
    worker.turn()
    assert ours.state is states.WRITING
    began = worker.connections.now
    timeout_s = worker.service.settings.timeout_s

    for second in range(0, timeout_s + 20, 10):
        if ours.state is states.CLOSED:
            break
        worker.connections.now = began + second
        client.recv(4 << 20)
        worker.loop._responder.write(ours)  # noqa: SLF001 - the kernel's buffers have room again
        worker.loop._sweep()  # noqa: SLF001 - what is tested

    assert ours.state is states.CLOSED
    assert second <= timeout_s + 10
    assert 'serving_errors_total{kind="gone"} 1\n' in worker.service.metrics.render()


@pytest.mark.parametrize("worker", [Large], indirect=True)
def test_answers_that_no_client_takes_have_one_bound(worker: Worker) -> None:
    """The client that has been taking for longest gives way."""
    sides = []
    for number in range(12):
        sides.append(worker.connect())
        sides[-1][1].started = float(number)
        sides[-1][0].sendall(POST)
        while sides[-1][1].state is states.READING and not sides[-1][1].out:
            worker.turn()
        sides[-1][1].started = float(number)

    states_now = [ours.state for _, ours in sides]
    assert states_now[0] is states.CLOSED
    assert states_now[-1] is states.WRITING
    held = sum(len(ours.out) for _, ours in sides)
    assert held <= 1 << 28
    assert worker.connections._held_bytes == held  # noqa: SLF001 - the account is right


@pytest.mark.parametrize("worker", [Large], indirect=True)
def test_answer_that_is_taken_is_accounted_for_no_longer(worker: Worker) -> None:
    client, ours = worker.connect()
    client.sendall(POST)
    worker.turn()
    taken = 0
    while taken < len(Large.body):
        taken += len(client.recv(1 << 20))
        worker.turn()

    assert ours.state is states.READING
    assert worker.connections._held_bytes == 0  # noqa: SLF001 - the account is right


@pytest.mark.parametrize("worker", [Slow], indirect=True)
@pytest.mark.parametrize("step", ["sweep", "give up", "drain", "closed by user code"])
def test_connection_that_fails_outside_its_turn_is_closed_and_the_others_go_on(
    worker: Worker, step: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """SEC-7: not only while it is read or answered."""
    loop = worker.loop
    _, broken = worker.connect()
    other, good = worker.connect()
    fail = worker.connections.lose

    def refuse_broken(connection: Connection, *rest: Any) -> None:
        if connection is broken:
            raise RuntimeError
        if rest:
            loop._connections.close(connection)  # noqa: SLF001 - as after an answer
        else:
            fail(connection)

    monkeypatch.setattr(worker.connections, "lose", refuse_broken)
    monkeypatch.setattr(loop._responder, "finish", refuse_broken)  # noqa: SLF001 - it fails
    worker.connections.now = time.monotonic()
    if step == "sweep":
        broken.deadline = good.deadline = 0.0
        loop._sweep()  # noqa: SLF001 - what is tested
    elif step == "give up":
        for connection in (broken, good):
            worker.connections.watch(connection, states.COMPUTING, 0, 0)
        loop._give_up()  # noqa: SLF001 - what is tested
    elif step == "drain":
        monkeypatch.setattr(worker.connections, "lose", fail)
        close = worker.connections.close
        monkeypatch.setattr(
            worker.connections,
            "close",
            lambda one: os.close(-1) if one is broken and not caplog.text else close(one),
        )
        worker.process.cfg = SimpleNamespace(graceful_timeout=10)
        loop._drain()  # noqa: SLF001 - what is tested
    else:
        # At once, so that no other thread of this process gets the number.
        with Path(os.devnull).open() as nothing:
            os.dup2(nothing.fileno(), broken.descriptor)
        broken.deadline = good.deadline = 0.0
        monkeypatch.setattr(worker.connections, "lose", fail)
        loop._sweep()  # noqa: SLF001 - what is tested

    assert [broken.state, good.state] == [states.CLOSED, states.CLOSED]
    assert other.recv(1) == b""
    assert len(worker.connections) == 0
