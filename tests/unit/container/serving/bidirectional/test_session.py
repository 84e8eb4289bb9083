"""A session of a bidirectional stream, with a WebSocket client that is not ours."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest
from websockets.sync.client import connect

from container.serving.bidirectional import handshake, session
from container.serving.bidirectional.session import Session
from container.serving.exchange import Response

PARTS = 12  # more than are read ahead


async def echo_slowly(parts: AsyncIterator[Any]) -> AsyncIterator[Any]:
    async for part in parts:
        await asyncio.sleep(0.5 if part == "0" else 0)
        yield part


def test_a_client_is_not_lost_while_the_handler_has_taken_less_than_it_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its pongs come behind its parts, and are read as late."""
    monkeypatch.setattr(session, "_PING_S", 0.05)
    monkeypatch.setattr(session, "_PONG_S", 0.05, raising=False)
    statuses = []

    def serve() -> None:
        client, _ = listener.accept()
        head = client.recv(65536).decode("latin-1").split("\r\n")[1:-2]
        headers = {
            name.lower(): value for name, _, value in (line.partition(": ") for line in head)
        }
        protocol = handshake.accept("/", headers, message_bytes=1000)
        client.settimeout(0)
        served = Session(
            echo_slowly, lambda error, _: Response(500, repr(error).encode()), step_s=60
        )
        statuses.append(asyncio.run(served.run(protocol, client, b"")))

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        url = f"ws://127.0.0.1:{listener.getsockname()[1]}/"
        with connect(url, compression=None, proxy=None) as client:
            for number in range(PARTS):
                client.send(str(number))
            assert [client.recv(timeout=60) for _ in range(PARTS)] == list(map(str, range(PARTS)))
        thread.join()
    assert statuses == [200]
