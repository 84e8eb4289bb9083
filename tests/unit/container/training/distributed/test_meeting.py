"""Hosts meet, and learn of each other what they must have in common."""

from __future__ import annotations

import json
import socket
import time
from typing import Any

import pytest

from container.contract import Resources
from container.errors import PlatformError
from container.training.distributed import meeting
from tests.support import free_port

HOSTS = Resources("127.0.0.1", ("127.0.0.1", "127.0.0.2"))


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> int:
    port = free_port()
    monkeypatch.setattr(meeting, "_PORT", port)
    return port


def tell(port: int, message: Any) -> None:
    """Say something to the host as its peer would."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        text = message if isinstance(message, bytes) else json.dumps(message).encode()
        connection.sendall(text)


def describe(count: int, *lost: str) -> dict[str, Any]:
    return {"host": "127.0.0.2", "replica_count": count, "lost": lost}


def test_hosts_that_train_with_different_numbers_of_devices_are_all_named(port: int) -> None:
    host = meeting.Meeting(HOSTS, 1)
    tell(port, describe(4))
    with pytest.raises(PlatformError, match=r"127\.0\.0\.1: 1, 127\.0\.0\.2: 4; use instances of"):
        host.wait(time.monotonic() + 30)


@pytest.mark.parametrize(
    "noise", [b"", b"GET / HTTP/1.0\r\n\r\n", b"[]", {"host": "else", "replica_count": 7}]
)
def test_strangers_at_the_port_are_no_hosts(port: int, noise: Any) -> None:
    host = meeting.Meeting(HOSTS, 2)
    tell(port, noise)
    tell(port, describe(2))
    host.wait(time.monotonic() + 30)


def test_a_reported_loss_is_believed_although_its_host_still_answers(port: int) -> None:
    host = meeting.Meeting(HOSTS, 1)
    tell(port, describe(1, "127.0.0.2", "no host of this job"))
    host.wait(time.monotonic() + 30)
    assert host.find_lost() == ["127.0.0.2"]


def test_two_hosts_in_one_network_are_told_what_each_needs(port: int) -> None:
    first = meeting.Meeting(HOSTS, 1)
    message = f"port {port}, .* cannot be opened: Address already in use.*network of its own"
    with pytest.raises(PlatformError, match=message):
        meeting.Meeting(HOSTS, 1)
    tell(port, describe(1))
    first.wait(time.monotonic() + 60)
