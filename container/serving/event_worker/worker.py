"""A gunicorn worker: one event loop that reads, answers and writes, and threads that compute behind it.

`/ping` and predictions that cost no more than a few milliseconds are answered on the loop itself: that is three times
as fast as gunicorn's threads, whose hand-over costs ten small predictions. A longer prediction goes to the compute
thread behind a bounded queue, so that the loop stays free for `/ping` (HO-4). Every other route is Flask's, on threads
of its own.

Rules of this file: the loop never blocks; whatever waits on a client has a deadline; whatever a
client can make grow has a bound.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import resource
import select
import socket
import struct
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from email.utils import formatdate
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from gunicorn.workers.base import Worker

from container.errors import PlatformError, RequestError, UserError
from container.serving import inference, wsgi
from container.serving.event_worker import http1
from container.serving.telemetry import logs

if TYPE_CHECKING:
    from container.serving.server import Service

log = logging.getLogger(__name__)

_IDLE_S: Final = 75.0  # longer than a client's pool keeps a connection unused
_HEAD_S: Final = 10.0  # from a request's first byte to the end of its head
_SILENCE_S: Final = (
    15.0  # without a byte of an unfinished body, or of a response that the client does not take
)
_STREAM_S: Final = 480  # ST-1: longer, the platform ends a stream
_LAST_REQUEST_S: Final = 0.5  # after SIGTERM, for requests that are on their way
_SWEEP_S: Final = 0.5
_CONNECTIONS_MAXIMUM: Final = 1024
_LOADING_LOAD: Final = (
    1 << 20
)  # more than any worker has that can answer: the others get the connections meanwhile
_SPARE_FILES: Final = 64
_READ_BYTES: Final = 65_536
_READ_BODY_BYTES: Final = 1_048_576
_JOIN_BYTES: Final = (
    65_536  # below it, copying head and body together costs less than sending two pieces
)
_OTHER_THREADS: Final = 16  # the models of a multi-model endpoint are asked on them
_BOOT_ERROR: Final = (
    3  # gunicorn's own code for a worker that cannot start: the master then stops as well
)
_REASONS: Final = {status.value: status.phrase for status in HTTPStatus}

_READING: Final = "reading"
_COMPUTING: Final = "computing"
_WRITING: Final = "writing"
_LINGERING: Final = "lingering"
_CLOSED: Final = "closed"


class _Connection:
    """A client's connection and how far its current request is."""

    __slots__ = (
        "body",
        "buffer",
        "closing",
        "deadline",
        "head",
        "held_bytes",
        "out",
        "received_bytes",
        "sent_bytes",
        "socket",
        "started",
        "state",
        "stream",
    )

    def __init__(self, client: socket.socket, now: float) -> None:
        self.socket = client
        self.state = _READING
        self.buffer = bytearray()  # read and not yet used
        self.head: http1.Head | None = (
            None  # of the request whose body is read or that is being answered
        )
        self.body: http1.ChunkedBody | None = None
        self.held_bytes = 0  # of a body that did not come in one piece with its head
        self.out = memoryview(b"")  # of the response, not yet taken by the client
        self.stream: inference.Response | None = None  # whose next piece is to be sent
        self.received_bytes = 0  # of the body, for the log
        self.sent_bytes = 0  # of a stream, for the log
        self.closing = False  # after the response
        self.started = now  # of the request, or of waiting for one
        self.deadline = now + _IDLE_S


class _Lane:
    """Threads that run jobs in turn behind a bounded queue."""

    def __init__(self, name: str, threads: int, jobs_maximum: int) -> None:
        self.waiting = 0  # jobs queued or running
        self.started: dict[int, float] = {}  # when each running job began, by thread
        self._jobs_maximum = jobs_maximum
        self._jobs: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._name = name
        self.add_threads(threads)

    def add_threads(self, count: int) -> None:
        """Run as many jobs more at once."""
        for number in range(count):
            threading.Thread(target=self._run, name=f"{self._name}-{number}", daemon=True).start()

    def submit(self, job: Callable[[], None], *, has_begun: bool = False) -> bool:
        """Queue a job that never raises; False if the queue is full. For the loop alone, as is `waiting`.

        The next step of a request that `has_begun` is always taken.
        """
        if self.waiting >= self._jobs_maximum and not has_begun:
            return False
        self.waiting += 1
        self._jobs.put(job)
        return True

    def _run(self) -> None:
        thread = threading.get_ident()
        while True:
            job = self._jobs.get()
            self.started[thread] = time.monotonic()
            job()
            del (
                self.started[thread],
                job,
            )  # which holds a body, or a stream that its client has left


class EventWorker(Worker):
    """Serves the `Service` that the gunicorn application carries as `service`."""

    def load_wsgi(self) -> None:
        """Leave Flask until a request needs it: importing it takes as long as all the rest of the start."""

    def run(self) -> None:
        """Serve until told to stop, then answer what has begun."""
        self._service: Service = self.app.service  # type: ignore[attr-defined] # it hosts us: see `server`
        self._settings = self._service.settings
        self._loads = self._service.loads
        self._logs_requests = logs.has_requests()
        self._now = time.monotonic()
        self._connections: dict[int, _Connection] = {}
        self._connections_maximum = _raise_file_limit()
        self._held_bytes = 0
        self._held_bytes_maximum = max(8 * self._settings.payload_bytes, 1 << 28)
        self._done: deque[tuple[_Lane, _Connection | None, inference.Response]] = deque()
        self._predictions = _Lane("predict", 1, self._settings.queue_requests)
        self._others: _Lane | None = None
        self._date = (0, "")
        self._exit_status = 0
        self._swept = 0.0
        self._accepting = False
        self._epoll = select.epoll()
        self._epoll.register(self.PIPE[0], select.EPOLLIN)
        self._epoll.register(self._loads.event, select.EPOLLIN)
        self._listeners = {listener.fileno(): listener.sock for listener in self.sockets}  # type: ignore[attr-defined]
        for listener in self._listeners.values():
            listener.settimeout(0)
        if self._service.application is None:
            self._predictions.submit(self._load)  # and whatever comes meanwhile stays behind it
        else:
            self._predictions.add_threads(self._service.prediction_threads - 1)
        while self.alive:
            self._balance()
            self._turn(_SWEEP_S)
        self._drain()
        if self._exit_status:
            sys.exit(self._exit_status)

    def _load(self) -> None:
        """Load the application on the compute thread; `/ping` says 503 meanwhile (HO-6)."""
        try:
            self._service.application = self._service.load()
        except (UserError, PlatformError) as error:
            log.error("the model cannot be loaded: %s", error)  # noqa: TRY400 - the message is the whole story
        except Exception:
            log.exception("the model cannot be loaded")
        if self._service.application is None:
            self._exit_status = _BOOT_ERROR
            self.alive = False
        else:
            self._predictions.add_threads(self._service.prediction_threads - 1)
        self._done.append((self._predictions, None, inference.Response(200)))
        self._wake()

    def _drain(self) -> None:
        """Answer what has begun, and what comes in the moment after; leave the rest to another instance (HO-10)."""
        self._stop_accepting()
        for listener in self._listeners.values():
            while self._accept(listener):  # the kernel has accepted these already
                pass
            listener.close()
        started = time.monotonic()
        while self._connections and self._now < started + self.cfg.graceful_timeout:
            self._turn(_LAST_REQUEST_S / 10)
            if self._now > started + _LAST_REQUEST_S:
                for connection in list(self._connections.values()):
                    if (
                        connection.state is _READING
                        and not connection.head
                        and not connection.buffer
                    ):
                        self._close(connection)

    # The loop.

    def _turn(self, timeout_s: float) -> None:
        """Wait for events and handle each."""
        events = self._epoll.poll(timeout_s)
        self._now = time.monotonic()
        for descriptor, event in events:
            connection = self._connections.get(descriptor)
            if connection is not None:
                self._handle(connection, event)
            elif descriptor in self._listeners:
                self._accept(self._listeners[descriptor])
            else:  # a wake-up: by a signal or a compute thread, or by another worker
                _empty(descriptor)
        while self._done:
            lane, connection, response = self._done.popleft()
            lane.waiting -= 1
            if connection is not None and connection.state is _COMPUTING:
                self._finish(connection, response)
        if self._now >= self._swept + _SWEEP_S:
            self._sweep()

    def _handle(self, connection: _Connection, event: int) -> None:
        if event & select.EPOLLIN:
            self._read(connection)
        elif event & select.EPOLLOUT:
            self._write(connection)
        else:  # the client has reset the connection
            self._lose(connection)

    def _wake(self) -> None:
        with contextlib.suppress(BlockingIOError):  # full of wake-ups already
            os.write(self.PIPE[1], b"\0")

    def _sweep(self) -> None:
        """Show life to the master; close what is past its deadline; give up where a prediction is."""
        self._swept = self._now
        self.notify()
        self._show()
        if os.getppid() != self.ppid:
            log.error("the master is gone: this worker stops")
            self.alive = False
        for connection in list(self._connections.values()):
            if self._now < connection.deadline or connection.state is _COMPUTING:
                continue
            if connection.state is _READING and (connection.head or connection.buffer):
                self._refuse(connection, RequestError(408, "the request was not complete in time"))
            else:
                self._lose(connection)
        limit = self._now - self._settings.timeout_s
        if (
            self._service.computing_since > limit
        ):  # those that wait for their turn in a batch make progress
            return
        is_loaded = (
            self._service.application is not None
        )  # which may take as long as the platform lets it
        if (
            self.alive
            and is_loaded
            and any(started < limit for started in list(self._predictions.started.values()))
        ):
            log.error(
                "a prediction has run for more than %d s: this worker is replaced",
                self._settings.timeout_s,
            )
            for connection in list(self._connections.values()):
                if connection.state is _COMPUTING:
                    self._service.metrics.count_error("late", 503)
                    self._finish(connection, inference.refuse(503, "the prediction took too long"))
            self._exit_status = 1
            self.alive = False

    def _show(self) -> None:
        """Tell how busy this worker is; twice a second, so that no request pays for it."""
        in_flight = sum(
            connection.state in (_COMPUTING, _WRITING)
            or connection.head is not None
            or bool(connection.buffer)
            for connection in self._connections.values()
        )
        queued = max(0, self._predictions.waiting - len(self._predictions.started))
        self._service.metrics.show(len(self._connections), in_flight, queued)

    # Connections.

    def _balance(self) -> None:
        """Accept only while no other worker has fewer connections and jobs than this one."""
        load = len(self._connections) + self._predictions.waiting
        if self._service.application is None:
            load += _LOADING_LOAD
        accepting = self._loads.is_least(load, self._now)
        if len(self._connections) >= self._connections_maximum:
            accepting = accepting and self._evict()
        if accepting and not self._accepting:
            for descriptor in self._listeners:
                self._epoll.register(descriptor, select.EPOLLIN | select.EPOLLEXCLUSIVE)
        elif self._accepting and not accepting:
            self._stop_accepting()
            self._loads.wake_lesser(load)
        self._accepting = accepting

    def _stop_accepting(self) -> None:
        if self._accepting:
            for descriptor in self._listeners:
                self._epoll.unregister(descriptor)
        self._accepting = False

    def _accept(self, listener: socket.socket) -> bool:
        try:
            client, _ = listener.accept()
        except OSError:  # another worker took it, or the client has gone
            return False
        client.settimeout(0)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connections[client.fileno()] = _Connection(client, self._now)
        self._epoll.register(client.fileno(), select.EPOLLIN)
        return True

    def _evict(self) -> bool:
        """Close the connection that has been sending or silent for longest, so that there is room for a ping."""
        reading = [
            connection for connection in self._connections.values() if connection.state is _READING
        ]
        if reading:
            self._close(min(reading, key=lambda connection: connection.started))
        return bool(reading)

    def _close(self, connection: _Connection) -> None:
        self._release(connection)
        del self._connections[connection.socket.fileno()]
        connection.state = _CLOSED
        connection.stream = None
        # Closing alone leaves it in the epoll set while a child has it: one that users' code is
        # just starting.
        self._epoll.unregister(connection.socket)
        connection.socket.close()

    def _lose(self, connection: _Connection) -> None:
        """Close the connection of a client that has gone, or takes nothing; it may leave a request behind."""
        has_begun = connection.state is _READING and (connection.head or connection.buffer)
        if has_begun or connection.state in (_COMPUTING, _WRITING):
            self._service.metrics.count_error("gone")
        self._close(connection)

    def _release(self, connection: _Connection) -> None:
        """Forget the request that is over."""
        self._held_bytes -= connection.held_bytes
        connection.held_bytes = 0
        connection.head = connection.body = None

    def _watch(self, connection: _Connection, state: str, events: int, deadline_s: float) -> None:
        connection.state = state
        connection.deadline = self._now + deadline_s
        self._epoll.modify(connection.socket.fileno(), events)

    # Reading.

    def _read(self, connection: _Connection) -> None:
        try:
            data = connection.socket.recv(
                _READ_BYTES if connection.head is None else _READ_BODY_BYTES
            )
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._lose(connection)
        elif connection.state is _READING:
            self._take(connection, data)

    def _take(self, connection: _Connection, data: bytes) -> None:
        if connection.head is not None:
            connection.deadline = min(
                self._now + _SILENCE_S, connection.started + self._settings.timeout_s
            )
            connection.held_bytes += len(data)
            self._held_bytes += len(data)
            if self._held_bytes > self._held_bytes_maximum:
                self._refuse(
                    connection, RequestError(503, "too many large bodies are on their way")
                )
                return
        elif not connection.buffer:
            connection.started = self._now
            connection.deadline = self._now + _HEAD_S
        connection.buffer += data
        self._advance(connection)

    def _advance(self, connection: _Connection) -> None:
        """Answer every request that the buffer holds whole."""
        try:
            while connection.state is _READING and connection.buffer:
                if connection.head is None:
                    connection.head = self._read_head(connection)
                if connection.head is None:
                    return
                body = self._read_body(connection, connection.head)
                if body is None:
                    return
                self._answer(connection, connection.head, body)
        except RequestError as error:
            self._refuse(connection, error)

    def _read_head(self, connection: _Connection) -> http1.Head | None:
        buffer = connection.buffer
        while buffer[:2] == b"\r\n":  # RFC 9112, 2.2: some clients end a body with a line
            del buffer[:2]
        end = buffer.find(http1.END_OF_HEAD, 0, http1.HEAD_BYTES_MAXIMUM)
        if end < 0:
            if len(buffer) >= http1.HEAD_BYTES_MAXIMUM:
                raise RequestError(
                    431, f"the request's head is longer than {http1.HEAD_BYTES_MAXIMUM} bytes"
                )
            return None
        head = http1.parse_head(buffer)
        connection.deadline = min(
            self._now + _SILENCE_S, connection.started + self._settings.timeout_s
        )
        del buffer[: end + len(http1.END_OF_HEAD)]
        if head.body_bytes > self._settings.payload_bytes:
            raise RequestError(413, inference.describe_limit(self._settings.payload_bytes))
        if head.body_bytes < 0:
            connection.body = http1.ChunkedBody(self._settings.payload_bytes)
        if head.body_bytes and head.expects_continue and not buffer:
            with contextlib.suppress(OSError):  # the next read finds out
                connection.socket.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        return head

    def _read_body(self, connection: _Connection, head: http1.Head) -> bytes | None:
        """Take the body off the buffer once it is there as a whole."""
        buffer = connection.buffer
        if connection.body is not None:
            body = connection.body.feed(buffer)
            return None if body is None else bytes(body)
        if len(buffer) < head.body_bytes:
            return None
        with memoryview(buffer) as view:
            taken = bytes(view[: head.body_bytes])
        del buffer[: head.body_bytes]
        return taken

    # Answering.

    def _answer(self, connection: _Connection, head: http1.Head, body: bytes) -> None:
        if self._logs_requests:
            connection.received_bytes = len(body)
        path = head.target.partition("?")[0]
        application = self._service.application
        if path == "/ping" and head.method in ("GET", "POST"):
            self._send(connection, inference.ping(is_ready=application is not None))
        elif path == "/invocations" and head.method == "POST":
            request = inference.Request(body, head.headers)
            if application is not None and inference.is_cheap(application, request):
                self._send(connection, application.invoke(request))
            else:
                self._compute(connection, self._predictions, lambda: self._invoke(request))
        else:
            self._others = self._others or _Lane(
                "other", _OTHER_THREADS, self._settings.queue_requests
            )
            self._compute(
                connection, self._others, lambda: wsgi.call(self._service.wsgi(), head, body)
            )

    def _invoke(self, request: inference.Request) -> inference.Response:
        """Predict on the compute thread, behind the model's loading: another worker may have told that all is well."""
        application = self._service.application
        if application is None:
            return inference.ask_to_retry("the model cannot be loaded")
        return application.invoke(request._replace(can_stream=True))

    def _compute(
        self, connection: _Connection, lane: _Lane, answer: Callable[[], inference.Response]
    ) -> None:
        def job() -> None:
            if connection.state is _CLOSED:  # the client has gone: nobody reads this
                response = inference.Response(500)
            elif time.monotonic() > expiry:
                self._service.metrics.count_error("late", 503)
                response = inference.refuse(503, "the request waited too long for its turn")
            else:
                response = inference.guard(answer)
            self._done.append((lane, connection, response))
            self._wake()

        expiry = self._now + self._settings.timeout_s
        # The job may be over before `submit` returns: whatever it looks at is written first.
        self._watch(connection, _COMPUTING, 0, 0)
        if not lane.submit(job):
            self._watch(connection, _READING, select.EPOLLIN, _IDLE_S)
            self._service.metrics.count_error("busy", 503)
            self._send(
                connection,
                inference.ask_to_retry(
                    f"{self._settings.queue_requests} requests are waiting already"
                ),
            )

    def _finish(self, connection: _Connection, response: inference.Response) -> None:
        """Send a computed response, and go on with what the client has sent behind its request."""
        connection.state = _WRITING
        if connection.stream is None:
            self._send(connection, response)
        else:
            self._send_piece(connection, response)
        if connection.state is _WRITING and not connection.out:
            self._resume(connection)

    def _compute_piece(self, connection: _Connection, streamed: inference.Response) -> None:
        """Have the next piece of a stream computed, now that the client has taken what there was."""
        if self._now > connection.started + max(_STREAM_S, self._settings.timeout_s):
            log.error("a streamed answer has lasted too long: it is broken off")
            self._service.metrics.count_error("late")
            self._break_off(connection)
            return

        def job() -> None:
            is_gone = connection.state is _CLOSED
            self._done.append(
                (
                    self._predictions,
                    connection,
                    streamed if is_gone else inference.take_piece(streamed),
                )
            )
            self._wake()

        self._watch(connection, _COMPUTING, 0, 0)
        self._predictions.submit(job, has_begun=True)

    def _send_piece(self, connection: _Connection, piece: inference.Response) -> None:
        """Send a piece of a stream, or its end; break it off if there is no next one."""
        request = connection.head
        if piece.rest is None or request is None:
            if self._logs_requests:
                self._log(connection, piece, connection.sent_bytes)
            self._break_off(connection)
            return
        data = _frame(piece.body) if request.takes_chunks else piece.body
        connection.stream = piece if piece.body else None
        connection.sent_bytes += len(piece.body)
        if not piece.body:
            if self._logs_requests:
                self._log(connection, piece, connection.sent_bytes)
            self._release(connection)
        self._put(connection, data, b"")

    def _break_off(self, connection: _Connection) -> None:
        """Close in the middle of an answer so that the client cannot take it for the whole."""
        if (
            connection.head is not None and not connection.head.takes_chunks
        ):  # its end is that of the connection
            with contextlib.suppress(OSError):
                connection.socket.setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
                )
        self._close(connection)

    def _resume(self, connection: _Connection) -> None:
        self._watch(connection, _READING, select.EPOLLIN, _HEAD_S if connection.buffer else _IDLE_S)
        self._advance(connection)

    def _refuse(self, connection: _Connection, error: RequestError) -> None:
        """Answer a request that cannot be read, after which the connection cannot either."""
        self._service.metrics.count_error(
            "busy" if error.status == 503 else "unreadable", error.status
        )
        connection.state = _LINGERING
        self._send(connection, inference.refuse(error.status, str(error)))

    def _send(self, connection: _Connection, response: inference.Response) -> None:
        request = connection.head
        linger = connection.state is _LINGERING
        connection.closing = linger or not self.alive or request is None or not request.keep_alive
        body = b"" if request is not None and request.method == "HEAD" else response.body
        framing = f"Content-Length: {len(response.body)}\r\n"
        if response.rest is None or request is None:
            if self._logs_requests:
                self._log(connection, response, len(body))
            self._release(connection)
        else:
            connection.stream = response
            connection.sent_bytes = len(body)
            framing = "Transfer-Encoding: chunked\r\n" if request.takes_chunks else ""
            connection.closing = connection.closing or not framing
            body = _frame(body) if framing else body
        self._put(
            connection, self._format_head(response, framing, closing=connection.closing), body
        )

    def _log(self, connection: _Connection, response: inference.Response, bytes_out: int) -> None:
        """Write a request's line, before it is forgotten."""
        head = connection.head  # None if it could not be read
        logs.log_request(
            response,
            method=head.method if head else "",
            target=head.target if head else "",
            headers=head.headers if head else {},
            started=connection.started,
            bytes_in=connection.received_bytes,
            bytes_out=bytes_out,
        )
        connection.received_bytes = 0

    def _put(self, connection: _Connection, head: bytes, body: bytes) -> None:
        """Hand bytes to the kernel; what it does not take now is for `_write`."""
        try:
            if len(body) <= _JOIN_BYTES:
                data = head + body
                sent = connection.socket.send(data)
            else:
                sent = connection.socket.sendmsg((head, body))
                data = head + body if sent < len(head) + len(body) else b""
        except BlockingIOError:
            data, sent = head + body, 0
        except OSError:
            self._service.metrics.count_error("gone")
            self._close(connection)
            return
        connection.out = memoryview(data)[sent:]
        if connection.out:
            linger = connection.state is _LINGERING
            self._watch(connection, _LINGERING if linger else _WRITING, select.EPOLLOUT, _SILENCE_S)
        elif connection.stream is not None:
            self._compute_piece(connection, connection.stream)
        elif connection.closing:
            self._end(connection)
        else:
            connection.started = self._now
            connection.deadline = self._now + _IDLE_S

    def _write(self, connection: _Connection) -> None:
        try:
            sent = connection.socket.send(connection.out)
        except BlockingIOError:
            return
        except OSError:
            self._lose(connection)
            return
        connection.out = connection.out[sent:]
        if connection.out:
            connection.deadline = self._now + _SILENCE_S
        elif connection.stream is not None:
            self._compute_piece(connection, connection.stream)
        elif connection.closing:
            self._end(connection)
        else:
            self._resume(connection)

    def _end(self, connection: _Connection) -> None:
        """Close after the last response, but not before a client that is still sending could read it."""
        if connection.state is not _LINGERING and not connection.buffer:
            self._close(connection)
            return
        try:
            connection.socket.shutdown(socket.SHUT_WR)
        except OSError:
            self._close(connection)
        else:
            self._watch(connection, _LINGERING, select.EPOLLIN, inference.LINGER_S)

    def _format_head(self, response: inference.Response, framing: str, *, closing: bool) -> bytes:
        second = int(time.time())
        if self._date[0] != second:
            self._date = (second, formatdate(second, usegmt=True))
        lines = [
            f"HTTP/1.1 {response.status} {_REASONS.get(response.status, '')}",
            f"Date: {self._date[1]}",
            f"Content-Type: {response.content_type}",
            *[f"{name}: {value}" for name, value in response.headers],
            framing
            + ("Connection: close\r\n\r\n" if closing else "Connection: keep-alive\r\n\r\n"),
        ]
        return "\r\n".join(lines).encode("latin-1")


def _frame(piece: bytes) -> bytes:
    """Make a chunk of a body; the empty one ends it (RFC 9112, 7.1)."""
    return b"%x\r\n%b\r\n" % (len(piece), piece)


def _empty(descriptor: int) -> None:
    with contextlib.suppress(BlockingIOError):
        while os.read(descriptor, 4096):
            pass


def _raise_file_limit() -> int:
    """Raise the limit on open files to what is allowed, and give how many of them may be connections."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _CONNECTIONS_MAXIMUM + _SPARE_FILES
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    soft = max(allowed, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return max(
        16, min(_CONNECTIONS_MAXIMUM, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - _SPARE_FILES)
    )
