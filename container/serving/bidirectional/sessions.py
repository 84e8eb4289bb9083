"""The bidirectional streams of one worker, as its event loop sees them.

A client's connection leaves the event loop with its handshake, for the loop of the user's
coroutines.
"""

from __future__ import annotations

import importlib.util
import logging
import socket
from collections.abc import Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any, Final, Protocol

from container.errors import RequestError, UserError
from container.serving.server_settings import Settings
from container.serving.telemetry.metrics import Invocation, Metrics

if TYPE_CHECKING:
    from websockets.server import ServerProtocol

    from container.serving.bidirectional.session import Session

log = logging.getLogger(__name__)

# The handler's step is cancelled when it takes too long; the worker is replaced if that fails.
_CANCEL_S: Final = 2.0


class Code(Protocol):
    """User code that may take streams."""

    @property
    def takes_streams(self) -> bool:
        """Whether it defines `stream_fn`."""

    def make_session(self, headers: Mapping[str, str]) -> Session:
        """Prepare a stream for a client whose handshake has these headers."""

    def spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine beside those of the code."""


def check_support(worker_class: str) -> None:
    """Check what `stream_fn` needs. Raises: UserError if the package is missing."""
    if importlib.util.find_spec("websockets") is None:
        raise UserError("stream_fn needs the package websockets: pip install websockets")
    if worker_class != "event":
        log.warning(describe_worker_class(worker_class))


def describe_worker_class(worker_class: str) -> str:
    """Explain that bidirectional streams need the worker class event."""
    message = f"bidirectional streams need the worker class event, not {worker_class}"
    return f"{message}: unset SAGEMAKER_GUNICORN_WORKER_CLASS"


class Sessions:
    """Opens sessions, and knows those that are open. Only the loop opens them."""

    def __init__(self, settings: Settings, metrics: Metrics, wake: Callable[[], None]) -> None:
        """`wake` is called from another thread when a session has ended."""
        self._settings = settings
        self._metrics = metrics
        self._wake = wake
        self._open: set[Session] = set()

    def __len__(self) -> int:
        """Return how many are open."""
        return len(self._open)

    @property
    def is_full(self) -> bool:
        """Whether no more may be opened."""
        return len(self._open) >= self._settings.queue_requests

    def accept(
        self, user_code: Code | None, method: str, target: str, headers: Mapping[str, str]
    ) -> ServerProtocol:
        """Accept a handshake; nothing is sent.

        Raises: RequestError 426 if it is none, 403 if it is of another site's page, which a browser
        leaves to the server, 501 if no handler takes streams, else as `handshake.accept` does.
        """
        if method != "GET" or headers.get("upgrade", "").lower() != "websocket":
            raise RequestError(426, "the request is not the handshake of a WebSocket")
        origin = headers.get("origin")
        if origin and origin.partition("://")[2].lower() != headers.get("host", "").lower():
            raise RequestError(403, f"a page of another site opens a WebSocket: {origin[:200]!r}")
        if user_code is None or not user_code.takes_streams:
            raise RequestError(501, "bidirectional streams need a handler that defines stream_fn")
        from container.serving.bidirectional import handshake

        message_bytes = self._settings.payload_bytes
        return handshake.accept(target, headers, message_bytes=message_bytes)

    def begin(
        self,
        user_code: Code,
        protocol: ServerProtocol,
        client: socket.socket,
        headers: Mapping[str, str],
        early: bytes,
    ) -> None:
        """Hand a client over to the handler; `early` is what it has sent after its handshake."""
        session = user_code.make_session(headers)
        self._open.add(session)
        user_code.spawn(self._run(session, protocol, client, early))

    async def _run(
        self, session: Session, protocol: ServerProtocol, client: socket.socket, early: bytes
    ) -> None:
        status = 500
        try:
            status = await session.run(protocol, client, early)
        finally:
            self._open.discard(session)
            # Its duration says nothing about the handler, so it is in no histogram.
            self._metrics.ended.append(Invocation(status, {}))
            self._wake()

    def stop(self) -> None:
        """Let each of them come to its end."""
        for session in list(self._open):
            session.stop()

    def abandon(self) -> None:
        """Wait for none of them any more: they end with the process."""
        self._open.clear()

    def has_stuck(self, now: float) -> bool:
        """Return whether a handler has been computing for too long, and cannot be cancelled."""
        ends = [session.step_ends for session in list(self._open)]
        return any(end is not None and now > end + _CANCEL_S for end in ends)
