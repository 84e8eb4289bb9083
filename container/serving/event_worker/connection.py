"""The clients' connections of one worker: how far each is, and what ends it.

Rules of this file: whatever waits for a client has a deadline; whatever a client can make grow has
a bound.
"""

import contextlib
import resource
import select
import socket
import struct
from collections import deque
from collections.abc import Iterator
from typing import Final

from container.serving.event_worker import http1
from container.serving.exchange import Response
from container.serving.handover.feeds import Feed
from container.serving.telemetry import logs
from container.serving.telemetry.metrics import Metrics

IDLE_S: Final = 75.0  # longer than a client's pool keeps a connection unused

# States.
READING: Final = "reading"
COMPUTING: Final = "computing"
WRITING: Final = "writing"
LINGERING: Final = "lingering"
CLOSED: Final = "closed"

_CONNECTIONS_MAXIMUM: Final = 1024
_SPARE_FILES: Final = 64


class Connection:
    """A client's connection and how far its current request is."""

    __slots__ = (
        "body",
        "buffer",
        "closing",
        "deadline",
        "descriptor",
        "head",
        "held_bytes",
        "out",
        "received_bytes",
        "searched_bytes",
        "sent_bytes",
        "socket",
        "started",
        "state",
        "stream",
        "taken_by",
    )

    def __init__(self, client: socket.socket, now: float) -> None:
        self.socket = client
        self.descriptor = client.fileno()
        self.state = READING
        self.buffer = bytearray()
        """Read and not yet used."""
        self.searched_bytes = 0
        """Of the buffer, known not to hold the end of a head."""
        self.head: http1.Head | None = None
        """Of the request whose body is read or that is being answered."""
        self.body: http1.ChunkedBody | None = None
        self.held_bytes = 0
        """Of a body that did not come in one piece with its head, or of an answer not yet taken."""
        self.out = memoryview(b"")
        """Of the response, not yet taken by the client."""
        self.stream: Response | None = None
        """The response whose next piece is to be sent."""
        self.received_bytes = 0
        """Of the body, for the log."""
        self.sent_bytes = 0
        """Of a stream, for the log."""
        self.closing = False
        """Whether the connection ends with the response."""
        self.started = now
        """When the request began, or the wait for one."""
        self.deadline = now + IDLE_S
        self.taken_by = 0.0
        """When the client must have taken the answer."""

    @property
    def has_begun(self) -> bool:
        """Whether a part of a request has been read."""
        return self.head is not None or bool(self.buffer)

    def log(self, response: Response, bytes_out: int) -> None:
        """Write the line of the request, before the request is forgotten."""
        head = self.head  # None if it could not be read
        exchange = logs.Exchange(
            method=head.method if head else "",
            target=head.target if head else "",
            headers=head.headers if head else {},
            bytes_in=self.received_bytes,
            bytes_out=bytes_out,
            started=self.started,
        )
        logs.log_request(exchange, response)
        self.received_bytes = 0


class Connections:
    """The connections of one worker, on its epoll set."""

    def __init__(self, epoll: select.epoll, metrics: Metrics, held_bytes_maximum: int) -> None:
        """`held_bytes_maximum` bounds the memory of all bodies and answers on their way."""
        self.now = 0.0
        """The time of the loop's current turn, by `time.monotonic`."""
        self.surplus = 0
        """Connections that end with their next answer, so that another worker gets the client."""
        self._epoll = epoll
        self._metrics = metrics
        self._held_bytes = 0
        self._held_bytes_maximum = held_bytes_maximum
        self._maximum = _raise_file_limit()
        self._by_descriptor: dict[int, Connection] = {}
        self.get = self._by_descriptor.get
        self.postponed: deque[Connection] = deque()
        """Those that wait for their next turn."""

    def __len__(self) -> int:
        """Return the number of open connections."""
        return len(self._by_descriptor)

    def __iter__(self) -> Iterator[Connection]:
        """Iterate over a copy, so that connections may be closed meanwhile."""
        return iter(list(self._by_descriptor.values()))

    def add(self, client: socket.socket) -> Connection:
        """Take in a client that has been accepted."""
        client.settimeout(0)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = Connection(client, self.now)
        self._epoll.register(connection.descriptor, select.EPOLLIN)
        self._by_descriptor[connection.descriptor] = connection
        return connection

    def make_room(self) -> bool:
        """Return whether there is room for one more, after closing the one reading for longest.

        This way there is always room for a ping.
        """
        return len(self) < self._maximum or self.evict(READING)

    def evict(self, state: str) -> bool:
        """Close the connection that has been in this state for longest; False if there is none."""
        candidates = [connection for connection in self if connection.state is state]
        if candidates:
            self._metrics.count_error("evicted")
            self.close(min(candidates, key=lambda connection: connection.started))
        return bool(candidates)

    def postpone(self, connection: Connection) -> None:
        """Leave what a client has sent to the loop's next turn, and read no more until then."""
        self._epoll.modify(connection.descriptor, 0)
        self.postponed.append(connection)

    def take_postponed(self) -> Iterator[Connection]:
        """Yield the connections whose turn it is, reading from them again."""
        for _ in range(len(self.postponed)):
            connection = self.postponed.popleft()
            if connection.state is READING:
                self._epoll.modify(connection.descriptor, select.EPOLLIN)
                yield connection

    def watch(self, connection: Connection, state: str, events: int, deadline_s: float) -> None:
        """Wait for `events` in a new state, for at most `deadline_s`."""
        connection.state = state
        connection.deadline = self.now + deadline_s
        self._epoll.modify(connection.descriptor, events)

    def hold(self, connection: Connection, count: int) -> bool:
        """Account for bytes on their way; return False if all of them take too much."""
        connection.held_bytes += count
        self._held_bytes += count
        return self._held_bytes <= self._held_bytes_maximum

    def let_go(self, connection: Connection) -> None:
        """Account for no bytes of this connection."""
        self._held_bytes -= connection.held_bytes
        connection.held_bytes = 0

    def release(self, connection: Connection) -> None:
        """Forget the request, which is over."""
        self.let_go(connection)
        connection.head = None
        connection.body = None

    def close(self, connection: Connection) -> None:
        """Close the connection; what it was doing is dropped."""
        self.release(connection)
        self._by_descriptor.pop(connection.descriptor, None)
        connection.state = CLOSED
        if connection.stream is not None and isinstance(connection.stream.rest, Feed):
            connection.stream.rest.abandon()
        connection.stream = None
        connection.out = memoryview(b"")
        # Closing does not remove it from the epoll set while a child process holds it as well, such
        # as one that user code is just starting.
        with contextlib.suppress(OSError):  # user code may have closed it
            self._epoll.unregister(connection.descriptor)
        with contextlib.suppress(OSError):
            connection.socket.close()

    def detach(self, connection: Connection) -> socket.socket:
        """Leave a client to somebody else, who closes its socket."""
        self.release(connection)
        self._by_descriptor.pop(connection.descriptor, None)
        connection.state = CLOSED
        self._epoll.unregister(connection.descriptor)
        return connection.socket

    def lose(self, connection: Connection) -> None:
        """Close the connection of a client that has left or takes nothing."""
        is_reading = connection.state is READING and connection.has_begun
        if is_reading or connection.state in (COMPUTING, WRITING):
            self._metrics.count_error("gone")
        self.close(connection)

    def break_off(self, connection: Connection) -> None:
        """Close in the middle of an answer, so that the client does not take it for complete."""
        head = connection.head
        if head is not None and not head.takes_chunks:  # its end is that of the connection
            with contextlib.suppress(OSError):
                linger = struct.pack("ii", 1, 0)
                connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.close(connection)


def _raise_file_limit() -> int:
    """Raise the limit on open files as far as allowed; return how many may be connections."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _CONNECTIONS_MAXIMUM + _SPARE_FILES
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(allowed, soft), hard))
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return max(16, min(_CONNECTIONS_MAXIMUM, files - _SPARE_FILES))
