"""Messages between the endpoint and a model's process."""

from __future__ import annotations

import os
import socket
import threading

import pytest

from container.serving.exchange import CustomTotals, Request, Response
from container.serving.many_models import wire

LARGE = os.urandom(3_000_000)  # more than a socket holds


@pytest.mark.parametrize("body", [b"", b"\0\n\xff", LARGE], ids=["empty", "bytes", "large"])
def test_requests_and_answers_arrive_as_they_were_sent(body: bytes) -> None:
    request = Request(body, {"content-type": "text/csv", "x": 'é"\n'})
    response = Response(
        207,
        body,
        "a/b",
        (("A", "1"), ("A", "2")),
        request_id="id",
        seconds={"predict": 0.5},
        custom=CustomTotals(1.5, {"rows": (2.0, 3.5)}, 1.0),
    )
    ours, theirs = socket.socketpair()
    with ours, theirs:

        def send() -> None:
            wire.send_request(ours, request)
            wire.send_response(ours, response)

        sender = threading.Thread(target=send)
        sender.start()
        received = (wire.receive_request(theirs), wire.receive_response(theirs))
        sender.join()

    assert received == (request, response)


def test_a_peer_that_leaves_in_the_middle_is_an_error() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(b"\0\0")
        ours.close()
        with pytest.raises(EOFError):
            wire.receive(theirs)


def test_a_silent_peer_is_waited_for_as_long_as_the_socket_says() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.settimeout(0.01)
        with pytest.raises(TimeoutError):
            wire.receive(theirs)
