"""Messages between the endpoint and a model's process, over a stream socket.

A message is a JSON object and a body of bytes, each after its length.
"""

import json
import socket
import struct
from collections.abc import Mapping, Sequence
from typing import Any, Final

from container.serving.exchange import CustomTotals, Request, Response

_LENGTHS: Final = struct.Struct("!IQ")


def send(peer: socket.socket, head: Mapping[str, Any], body: bytes = b"") -> None:
    """Send a message. Raises: OSError if the peer has gone, TimeoutError if it does not read."""
    encoded = json.dumps(head).encode()
    peer.sendall(_LENGTHS.pack(len(encoded), len(body)) + encoded)
    peer.sendall(body)


def receive(peer: socket.socket) -> tuple[dict[str, Any], bytes]:
    """Receive a message.

    Raises: EOFError if the peer has closed, OSError if it has gone, TimeoutError if it is silent
    for longer than the socket's timeout.
    """
    head_bytes, body_bytes = _LENGTHS.unpack(_read(peer, _LENGTHS.size))
    head: dict[str, Any] = json.loads(_read(peer, head_bytes))
    return head, bytes(_read(peer, body_bytes))


def _read(peer: socket.socket, count: int) -> bytearray:
    data = bytearray(count)
    view = memoryview(data)
    while view:
        taken = peer.recv_into(view)
        if not taken:
            raise EOFError
        view = view[taken:]
    return data


def send_request(peer: socket.socket, request: Request) -> None:
    """Send a request; its answer will come in one piece."""
    send(peer, {"headers": dict(request.headers)}, request.body)


def receive_request(peer: socket.socket) -> Request:
    """Receive a request; raises as `receive` does."""
    head, body = receive(peer)
    return Request(body, head["headers"])


def send_response(peer: socket.socket, response: Response) -> None:
    """Send an answer that is not streamed."""
    head = {
        "status": response.status,
        "content_type": response.content_type,
        "headers": response.headers,
        "request_id": response.request_id,
        "seconds": dict(response.seconds or {}),
        "custom": response.custom,
    }
    send(peer, head, response.body)


def receive_response(peer: socket.socket) -> Response:
    """Receive an answer; raises as `receive` does."""
    head, body = receive(peer)
    return Response(
        head["status"],
        body,
        head["content_type"],
        tuple((name, value) for name, value in head["headers"]),
        request_id=head["request_id"],
        seconds=head["seconds"],
        custom=_read_custom(head["custom"]),
    )


def _read_custom(sent: Sequence[Any] | None) -> CustomTotals | None:
    if sent is None:
        return None
    time_s, values, left_out = sent
    return CustomTotals(time_s, {name: tuple(sums) for name, sums in values.items()}, left_out)
