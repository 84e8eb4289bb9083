"""Reads requests from connections, has them answered, and sends the answers.

`/ping` and predictions that cost at most a few milliseconds are answered on the loop itself, which
is three times as fast as gunicorn's threads: handing over to a thread costs as much as ten small
predictions. A longer prediction goes to the compute thread behind a bounded queue, so that the loop
stays free for `/ping` (HO-4). Every other route is Flask's, on threads of its own.

Rules of this file: nothing here blocks.
"""

from __future__ import annotations

import contextlib
import logging
import select
import socket
import time
from email.utils import formatdate
from typing import TYPE_CHECKING, Final

from container import contract
from container.errors import RequestError
from container.serving import inference
from container.serving.bodies import content_encoding
from container.serving.event_worker import http1
from container.serving.event_worker.connection import (
    IDLE_S,
    LINGERING,
    READING,
    WRITING,
    Connection,
    Connections,
)
from container.serving.event_worker.lanes import Lanes
from container.serving.exchange import Request, Response
from container.serving.telemetry import logs

if TYPE_CHECKING:
    from container.serving.service import Service

log = logging.getLogger(__name__)

_HEAD_S: Final = 10.0  # from a request's first byte to the end of its head
# Without a byte of an unfinished body, or of a response that the client does not take.
_SILENCE_S: Final = 15.0
_STREAM_S: Final = 480  # ST-1: the platform ends a stream that takes longer
# From then on in a turn, a connection's next request waits for the next turn.
_TURN_S: Final = 0.005
_READ_BYTES: Final = 65_536
_READ_BODY_BYTES: Final = 1_048_576
_JOIN_BYTES: Final = 65_536  # copying fewer bytes costs less than sending head and body apart
# What costs more than this leaves the loop: many such requests must not delay a ping, and they pay
# for the hand-over to a thread.
_INLINE_S: Final = 0.005
_INLINE_BODY_BYTES: Final = 262_144
_NOTHING: Final = memoryview(b"")
_UPGRADE: Final = (("Upgrade", "websocket"),)  # RFC 9110, 15.5.22


class Responder:
    """Answers the requests of all connections of one worker."""

    def __init__(self, service: Service, connections: Connections, lanes: Lanes) -> None:
        self.is_stopping = False
        """Whether each connection ends with its next response."""
        self._service = service
        self._settings = service.settings
        self._metrics = service.metrics
        self._connections = connections
        self._lanes = lanes
        self._logs_requests = logs.has_requests()
        self._stream_s = max(_STREAM_S, self._settings.timeout_s)
        self._date = (0, "")

    # Reading.

    def read(self, connection: Connection) -> None:
        """Read what a client has sent, and answer the requests that are complete."""
        is_body = connection.head is not None
        try:
            data = connection.socket.recv(_READ_BODY_BYTES if is_body else _READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._connections.lose(connection)
            return
        if connection.state is not READING:  # a refused client is still sending
            return
        now = self._connections.now
        if is_body:
            self._set_body_deadline(connection)
            if not self._connections.hold(connection, len(data)):
                message = "too many large bodies are being received"
                self.refuse(connection, RequestError(503, message))
                return
        elif not connection.buffer:
            connection.started = now
            connection.deadline = now + _HEAD_S
        connection.buffer += data
        self.advance(connection)

    def advance(self, connection: Connection) -> None:
        """Answer the requests that the buffer holds completely, as many as fit into a turn."""
        try:
            while connection.state is READING and connection.buffer:
                head = connection.head or self._begin(connection)
                if head is None:
                    return
                body = http1.take_body(connection.buffer, head, connection.body)
                if body is not None:
                    self._answer(connection, head, body)
                elif connection.body is None or not connection.body.is_paused:
                    return
                if connection.buffer and self._is_late(connection):
                    self._connections.postpone(connection)
                    return
        except RequestError as error:
            self.refuse(connection, error)

    def _is_late(self, connection: Connection) -> bool:
        """Return whether this connection may have more to do, and its turn is over."""
        return connection.state is READING and time.monotonic() > self._connections.now + _TURN_S

    def _begin(self, connection: Connection) -> http1.Head | None:
        """Begin a request whose head has arrived."""
        head = http1.take_head(connection.buffer, connection.searched_bytes)
        if head is None:
            connection.searched_bytes = len(connection.buffer)
            return None
        connection.searched_bytes = 0
        limit = self._settings.payload_bytes
        if head.body_bytes:
            self._set_body_deadline(connection)
            if head.body_bytes > limit:
                raise RequestError(413, content_encoding.describe_limit(limit))
            if head.body_bytes < 0:
                connection.body = http1.ChunkedBody(limit)
            if head.expects_continue and not connection.buffer:
                with contextlib.suppress(OSError):  # the next read finds out
                    connection.socket.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        connection.head = head
        return head

    def _set_body_deadline(self, connection: Connection) -> None:
        end = connection.started + self._settings.timeout_s
        connection.deadline = min(self._connections.now + _SILENCE_S, end)

    # Answering.

    def _answer(self, connection: Connection, head: http1.Head, body: bytes) -> None:
        if self._logs_requests:
            connection.received_bytes = len(body)
        path = head.target.partition("?")[0]
        application = self._service.application
        if path == "/ping" and head.method in ("GET", "POST"):
            self._send(connection, inference.ping(is_ready=application is not None))
            return
        if path == "/invocations" and head.method == "POST":
            request = Request(body, head.headers)
            if (
                application is not None
                and len(body) <= _INLINE_BODY_BYTES
                and application.estimate_s(request) <= _INLINE_S
            ):
                if self._lanes.user_calls.seat is None:
                    self._send(connection, application.invoke(request))
                else:
                    self._call_here(connection, request)
                return
            is_queued = self._lanes.predict(connection, request)
        elif _opens_websocket(path, head):
            self._open_session(connection, head)
            return
        else:
            is_queued = self._lanes.call_flask(connection, head, body)
        if not is_queued:
            self._metrics.count_error("busy", 503)
            message = f"{self._settings.queue_requests} requests are waiting already"
            self._send(connection, inference.ask_to_retry(message))

    def _call_here(self, connection: Connection, request: Request) -> None:
        """Have user code answer on this thread, to which the loop has moved."""
        response = self._lanes.user_calls.compute(connection, request)
        if response is not None:
            self._send(connection, response)

    def _open_session(self, connection: Connection, head: http1.Head) -> None:
        """Begin a bidirectional stream, at whatever path its client has chosen (BI-1)."""
        try:
            self._lanes.user_calls.open_session(connection, head)
        except RequestError as error:
            self._metrics.count_error("busy" if error.status == 503 else "refused", error.status)
            if error.status == 503:
                self._send(connection, inference.ask_to_retry(str(error)))
            else:
                refusal = inference.refuse(error.status, str(error))
                self._send(connection, refusal._replace(headers=_UPGRADE))
            return
        if self._logs_requests:
            connection.head = head
            connection.log(Response(101), 0)

    def finish(self, connection: Connection, response: Response) -> None:
        """Send a computed response, then go on with what the client has sent after its request."""
        connection.state = WRITING
        if connection.stream is None:
            self._send(connection, response)
        else:
            self._send_piece(connection, response)

    def refuse(self, connection: Connection, error: RequestError) -> None:
        """Answer a request that cannot be read, after which the connection cannot be either."""
        kind = "busy" if error.status == 503 else "unreadable"
        self._metrics.count_error(kind, error.status)
        connection.state = LINGERING
        self._send(connection, inference.refuse(error.status, str(error)))

    # Streams.

    def _compute_piece(self, connection: Connection, streamed: Response) -> None:
        """Have the next piece of a stream computed, now that the client has taken the last one."""
        if self._connections.now > connection.started + self._stream_s:
            log.error("a streamed answer has taken more than %d s and is aborted", self._stream_s)
            self._metrics.count_error("late")
            self._connections.break_off(connection)
            return

        self._lanes.compute_piece(connection, streamed)

    def _send_piece(self, connection: Connection, piece: Response) -> None:
        """Send a piece of a stream, or its end; break it off if the piece failed."""
        head = connection.head
        is_over = piece.rest is None or not piece.body
        if is_over and self._logs_requests:
            connection.log(piece, connection.sent_bytes)
        if piece.rest is None or head is None:
            self._connections.break_off(connection)
            return
        connection.sent_bytes += len(piece.body)
        connection.stream = None if is_over else piece
        if is_over:
            self._connections.release(connection)
        self._put(connection, http1.format_chunk(piece.body) if head.takes_chunks else piece.body)

    # Sending.

    def _send(self, connection: Connection, response: Response) -> None:
        connection.closing = self._closes_after(connection)
        framing, body = self._frame(connection, response)
        second = int(time.time())
        if self._date[0] != second:
            self._date = (second, formatdate(second, usegmt=True))
        start = http1.format_head(
            response.status,
            date=self._date[1],
            content_type=response.content_type,
            headers=response.headers,
            framing=framing,
            closing=connection.closing,
        )
        connection.taken_by = self._connections.now + self._settings.timeout_s
        if connection.stream is not None:
            connection.taken_by = connection.started + self._stream_s
        self._put(connection, start, body)

    def _closes_after(self, connection: Connection) -> bool:
        """Return whether the next response is the last one of a connection."""
        head = connection.head
        is_last = self.is_stopping or connection.state is LINGERING
        if is_last or head is None or not head.keep_alive:
            return True
        if self._connections.surplus:
            self._connections.surplus -= 1
            return True
        return False

    def _frame(self, connection: Connection, response: Response) -> tuple[str, bytes]:
        """Return the header that frames a body, and what of the body comes with it."""
        head = connection.head
        body = response.body
        if head is not None and head.method == "HEAD":
            body = b""
        if response.rest is None or head is None:
            if self._logs_requests:
                connection.log(response, len(body))
            if connection.held_bytes:
                self._connections.release(connection)
            connection.head = None
            connection.body = None
            if response.status in (204, 304):  # RFC 9110, 8.6: it has no body, and no length of it
                return "", body
            return f"Content-Length: {len(response.body)}\r\n", body
        connection.stream = response
        connection.sent_bytes = len(body)
        if head.takes_chunks:
            return "Transfer-Encoding: chunked\r\n", http1.format_chunk(body)
        connection.closing = True
        return "", body

    def write(self, connection: Connection) -> None:
        """Go on sending, now that the client has taken some of what was sent."""
        data = connection.out
        connection.out = _NOTHING
        self._connections.let_go(connection)
        self._put(connection, data)

    def _put(self, connection: Connection, data: bytes | memoryview, more: bytes = b"") -> None:
        """Hand bytes to the kernel, then do what follows; `write` sends what it does not take."""
        try:
            if len(more) > _JOIN_BYTES:
                sent = connection.socket.sendmsg((data, more))
            else:
                if more:
                    data = bytes(data) + more
                    more = b""
                sent = connection.socket.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._metrics.count_error("gone")
            self._connections.close(connection)
            return
        if sent < len(data) + len(more):
            if more:
                data = bytes(data) + more
            connection.out = memoryview(data)[sent:]
            self._wait_for_taker(connection)
        elif connection.stream is not None:
            self._compute_piece(connection, connection.stream)
        elif connection.closing:
            self._end(connection)
        elif connection.state is READING:
            connection.started = self._connections.now
            connection.deadline = connection.started + IDLE_S
        else:
            self._resume(connection)

    def _wait_for_taker(self, connection: Connection) -> None:
        """Keep what the client has not taken yet, for as long as it goes on taking."""
        state = LINGERING if connection.state is LINGERING else WRITING
        left_s = connection.taken_by - self._connections.now
        self._connections.watch(connection, state, select.EPOLLOUT, min(_SILENCE_S, left_s))
        if not self._connections.hold(connection, len(connection.out)):
            self._connections.evict(WRITING)

    def _resume(self, connection: Connection) -> None:
        """Read the next request, now that a response that took longer has been sent."""
        wait_s = _HEAD_S if connection.buffer else IDLE_S
        self._connections.watch(connection, READING, select.EPOLLIN, wait_s)
        self.advance(connection)

    def _end(self, connection: Connection) -> None:
        """Close after the last response, but only when a client that is sending could read it."""
        if connection.state is not LINGERING and not connection.buffer:
            self._connections.close(connection)
            return
        try:
            connection.socket.shutdown(socket.SHUT_WR)
        except OSError:
            self._connections.close(connection)
        else:
            self._connections.watch(connection, LINGERING, select.EPOLLIN, inference.LINGER_S)


def _opens_websocket(path: str, head: http1.Head) -> bool:
    """Return whether it asks for a stream, which may have a path of its own (BI-1)."""
    is_named = path == contract.BIDIRECTIONAL_PATH
    is_handshake = head.headers.get("upgrade", "").lower() == "websocket"
    return head.method in ("GET", "HEAD") and (is_named or is_handshake)
