"""Accepting clients, and what happens without file descriptors, which the system really refuses."""

from __future__ import annotations

import contextlib
import os
import resource
import select
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from container.serving.event_worker.connection import WRITING, Connections
from container.serving.event_worker.listeners import Listeners
from container.serving.loads import Loads
from container.serving.telemetry.metrics import Metrics


class Host:
    """A worker's listener, its connections and its clients, without a loop."""

    def __init__(self) -> None:
        self.loads = Loads(2)
        self.loads.take()
        self.epoll = select.epoll()
        self.metrics = Metrics(1, {})
        self.server = socket.create_server(("127.0.0.1", 0))
        self.connections = Connections(self.epoll, self.metrics, held_bytes_maximum=1 << 20)
        self.listeners = Listeners([self.server], self.epoll, self.connections, self.loads)
        self.descriptor = self.server.fileno()
        self.clients: list[socket.socket] = []

    def connect(self) -> socket.socket:
        """Connect a client, which the kernel accepts."""
        self.clients.append(socket.create_connection(self.server.getsockname(), timeout=10))
        return self.clients[-1]

    def is_listening(self) -> bool:
        """Return whether a client that waits wakes the loop."""
        return any(descriptor == self.descriptor for descriptor, _ in self.epoll.poll(0))


@pytest.fixture
def host() -> Iterator[Host]:
    made = Host()
    yield made
    for connection in made.connections:
        made.connections.close(connection)
    for client in (*made.clients, made.server):
        client.close()
    made.epoll.close()


@contextlib.contextmanager
def no_descriptors() -> Iterator[None]:
    """Let the system refuse each new descriptor."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.dup(0)
    os.close(free)
    # Those below that are free again are taken as well.
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            os.dup(0)
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_client_gets_the_descriptor_of_the_one_unused_for_longest(
    host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    oldest = host.connect()
    host.listeners.accept(host.descriptor)
    host.connections.now += 1
    host.connect()
    host.listeners.accept(host.descriptor)
    for _ in range(2):
        host.connect()

    with no_descriptors():
        assert host.listeners.accept(host.descriptor)
        assert host.listeners.accept(host.descriptor)

    assert len(host.connections) == 2
    assert oldest.recv(1) == b""
    assert 'serving_errors_total{kind="evicted"} 2\n' in host.metrics.render()
    assert caplog.text.count("cannot accept a client: Too many open files") == 1
    assert "ulimit -n" in caplog.text


def test_client_gets_the_reserved_descriptor_if_no_other_gives_way(host: Host) -> None:
    host.connect()
    host.listeners.accept(host.descriptor)
    [busy] = host.connections
    busy.state = WRITING
    ping = host.connect()
    waiting = host.connect()

    with no_descriptors():
        assert host.listeners.accept(host.descriptor)
        [served] = [one for one in host.connections if one is not busy]
        ping.sendall(b"ping")
        assert served.socket.recv(10) == b"ping"
        served.state = WRITING
        assert not host.listeners.accept(host.descriptor)

        host.connections.close(served)  # its descriptor is the reserved one again
        assert host.listeners.accept(host.descriptor)

    waiting.sendall(b"next")
    [served] = [one for one in host.connections if one is not busy]
    assert served.socket.recv(10) == b"next"


def test_loop_is_not_woken_for_a_while_by_clients_that_cannot_be_accepted(host: Host) -> None:
    """It would spin, since the listener stays readable."""
    host.connect()
    host.connect()
    with no_descriptors():
        host.connections.now = 100.0
        host.listeners.balance(0)
        assert host.is_listening()
        assert host.listeners.accept(host.descriptor)
        [busy] = host.connections
        busy.state = WRITING
        assert not host.listeners.accept(host.descriptor)
        host.listeners.balance(1)
        assert not host.is_listening()

    host.connections.now = 101.0
    host.listeners.balance(1)
    assert host.is_listening()
    assert host.listeners.accept(host.descriptor)


def test_client_that_cannot_be_watched_is_closed_and_the_next_one_is_served(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    add = host.connections.add

    def add_or_fail(client: socket.socket) -> Any:
        if not refused:
            refused.append(client)
            raise OSError(28, "No space left on device")  # the limit of epoll's watches
        return add(client)

    refused: list[socket.socket] = []
    monkeypatch.setattr(host.connections, "add", add_or_fail)
    first = host.connect()
    host.connect()

    assert host.listeners.accept(host.descriptor)
    assert host.listeners.accept(host.descriptor)

    assert first.recv(1) == b""
    assert len(host.connections) == 1


def test_worker_with_more_load_than_another_does_not_accept(host: Host) -> None:
    host.connections.now = 1.0
    host.listeners.balance(0)
    host.connect()
    assert host.is_listening()
    host.loads.take()  # another worker, without load
    host.loads.is_least(0, 1.0)
    host.loads._own = 0  # noqa: SLF001 - as in the first worker's process

    host.listeners.balance(1)

    assert not host.is_listening()


def test_clients_in_the_kernels_queue_are_accepted_before_the_end(host: Host) -> None:
    """HO-10."""
    for _ in range(3):
        host.connect()

    host.listeners.drain()

    assert len(host.connections) == 3
    assert host.server.fileno() == -1
