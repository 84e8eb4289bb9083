"""The opening handshake of a WebSocket (RFC 6455, 4.2), out of a request that has been read.

Pure: nothing is read or sent here.
"""

import logging
from collections.abc import Mapping
from typing import Final

from websockets.http11 import Request
from websockets.server import ServerProtocol

from container.errors import RequestError

# The library logs what clients send at the level `debug`, and no log may hold that.
_LIBRARY_LOG: Final = logging.getLogger(__name__)
_LIBRARY_LOG.setLevel(logging.WARNING)


def accept(target: str, headers: Mapping[str, str], *, message_bytes: int) -> ServerProtocol:
    """Return the server's side of a connection; its answer, a 101, is yet to be sent.

    `headers` has lower-case names; a message of the client's may take `message_bytes`.

    Raises: RequestError 400 or 426 if it is not a handshake.
    """
    lines = [f"GET {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    protocol = ServerProtocol(max_size=message_bytes, logger=_LIBRARY_LOG)
    protocol.receive_data("\r\n".join((*lines, "", "")).encode("latin-1"))
    request = next(iter(protocol.events_received()), None)
    if not isinstance(request, Request):
        raise RequestError(400, f"the WebSocket handshake is not valid: {protocol.handshake_exc}")
    response = protocol.accept(request)
    if response.status_code != 101:
        reason = protocol.handshake_exc or response.reason_phrase
        raise RequestError(response.status_code, f"the WebSocket handshake is not valid: {reason}")
    protocol.send_response(response)
    return protocol
