"""HTTP from the platform to one serving container, within the platform's limits."""

import contextlib
import http.client
import math
import queue
import select
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any, Final

from container.errors import RequestError
from local_test.endpoints.invocation import RETURNED_HEADERS, Answer, Stream, select_headers

ACCEPT_LIMIT_S: Final = 0.25  # for a connection to be accepted (HO-7)
_PROXY_CLOSES_S: Final = 0.5
ANSWER_BYTES: Final = 1024**3  # more than any mode passes on
_DOCUMENT_BYTES: Final = 16 * 1024**2
_BROKEN: Final = (OSError, http.client.HTTPException)


class _Socket(socket.socket):
    deadline = silence_s = math.inf

    def recv_into(self, *arguments: Any) -> int:
        left_s = min(self.deadline - time.monotonic(), self.silence_s)
        if left_s <= 0:
            raise TimeoutError("timed out")
        self.settimeout(left_s)
        return super().recv_into(*arguments)


class Connection(http.client.HTTPConnection):
    """A connection whose answers come within `timeout`, or what `limit` says, or not at all."""

    sock: _Socket

    def connect(self) -> None:
        """Connect. Raises: OSError."""
        super().connect()
        self.sock = _Socket(fileno=self.sock.detach())
        self.limit(float(self.timeout or 0))

    def limit(self, total_s: float, silence_s: float = math.inf) -> None:
        """Let the next answer take `total_s` from now on, and `silence_s` between two pieces."""
        self.sock.settimeout(min(total_s, silence_s))
        self.sock.deadline = time.monotonic() + total_s
        self.sock.silence_s = silence_s


def read(response: http.client.HTTPResponse, bytes_maximum: int) -> bytes:
    """Read the body of an answer. Raises: HTTPException if it is cut off or too long."""
    pieces = []
    size = 0
    with response:  # a container that nobody reads from stops sending
        while size <= bytes_maximum and (piece := response.read(2**20)):
            pieces.append(piece)
            size += len(piece)
    if size > bytes_maximum:
        raise http.client.HTTPException(f"the answer has more than {bytes_maximum} bytes")
    if response.length:  # `read` with a size says nothing of an answer that is cut off
        raise http.client.IncompleteRead(b"".join(pieces), response.length)
    return b"".join(pieces)


class Client:
    """Sends requests to one container; safe to use from several threads."""

    def __init__(
        self, address: tuple[str, int], variant: str, *, invocation_s: float, stream_s: float
    ) -> None:
        """`variant` is what the answers name as theirs; the others are time limits."""
        self._address = address
        self._variant = variant
        self._invocation_s = invocation_s
        self._stream_s = stream_s
        self._idle: queue.SimpleQueue[Connection] = queue.SimpleQueue()
        self._is_closed = False

    def exchange(
        self, method: str, path: str, body: bytes | None = None, *, limit_s: float | None = None
    ) -> tuple[int, bytes]:
        """Send a request of the platform itself on a new connection; return status and body.

        Raises: RequestError 424 if there is no answer.
        """
        limit_s = limit_s or self._invocation_s
        connection = Connection(*self._address, timeout=limit_s)
        headers = {"User-Agent": "AHC/2.0"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            return response.status, read(response, _DOCUMENT_BYTES)
        except _BROKEN as error:
            message = f"{method} {path} was not answered: {_describe(error)}"
            raise RequestError(424, message) from error
        finally:
            connection.close()

    def post(
        self,
        path: str,
        body: bytes,
        headers: Mapping[str, str],
        *,
        is_chunked: bool = False,
        limit_s: float | None = None,
    ) -> Answer:
        """Send a caller's request; `is_chunked` sends it without Content-Length (BT-6).

        Raises: RequestError 424 if the container does not accept the connection, closes it, or
        exceeds the time limit (HO-7, HO-8).
        """
        limit_s = limit_s or self._invocation_s
        started = time.monotonic()
        connection, connect_s = self._connect()
        connection.limit(limit_s)
        try:
            if is_chunked:
                connection.request("POST", path, iter([body]), dict(headers), encode_chunked=True)
            else:
                connection.request("POST", path, body, dict(headers))
            response = connection.getresponse()
            first_byte_s = time.monotonic() - started
            payload = read(response, ANSWER_BYTES)
        except TimeoutError as error:
            connection.close()
            message = f"the container did not answer within {limit_s:g} s (HO-8)"
            raise RequestError(424, message) from error
        except _BROKEN as error:
            connection.close()
            passed_s = time.monotonic() - started
            message = f"the connection broke after {passed_s:.1f} s: {_describe(error)}"
            raise RequestError(424, message) from error
        if response.will_close or self._is_closed:
            connection.close()
        else:
            self._idle.put(connection)
        returned = select_headers(response.getheaders(), RETURNED_HEADERS)
        findings: tuple[str, ...] = ()
        if payload and "content-type" not in returned:
            findings = ("the answer has no Content-Type (RQ-4)",)
        return Answer(
            status=response.status,
            headers=returned,
            body=payload,
            variant=self._variant,
            connect_s=connect_s,
            first_byte_s=first_byte_s,
            total_s=time.monotonic() - started,
            findings=findings,
        )

    def stream(self, body: bytes, headers: Mapping[str, str]) -> Stream:
        """Send a caller's request whose answer is read as it arrives (ST-1).

        Raises: RequestError 424 if the answer does not begin.
        """
        connection, _ = self._connect()
        connection.limit(self._stream_s, self._invocation_s)
        try:
            connection.request("POST", "/invocations", body, dict(headers))
            response = connection.getresponse()
        except _BROKEN as error:
            connection.close()
            raise RequestError(424, f"the connection broke: {_describe(error)}") from error
        returned = select_headers(response.getheaders(), RETURNED_HEADERS)
        parts = self._read_parts(connection, response)
        return Stream(response.status, returned, parts, self._variant)

    def _read_parts(
        self, connection: Connection, response: http.client.HTTPResponse
    ) -> Iterator[bytes]:
        deadline = time.monotonic() + self._stream_s
        try:
            while part := response.read1(65536):
                yield part
                if time.monotonic() > deadline:
                    message = (
                        "ModelInvocationTimeExceeded: the stream took longer than "
                        f"{self._stream_s:g} s (HO-8)"
                    )
                    raise RequestError(424, message)
        except _BROKEN as error:
            raise RequestError(424, f"StreamBroken: {_describe(error)} (ST-1)") from error
        finally:
            connection.close()

    def read_slowly(self, body: bytes, headers: Mapping[str, str], ended: threading.Event) -> None:
        """Send a request and read one byte of its answer per second, until it or `ended` ends."""
        host, _ = self._address
        fields = {"Host": host, "Connection": "close", **headers, "Content-Length": str(len(body))}
        head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        request = f"POST /invocations HTTP/1.1\r\n{head}\r\n".encode("latin-1") + body
        with contextlib.suppress(OSError), socket.socket() as connection:
            # The smallest buffer, so that the kernel does not read on the caller's behalf.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
            connection.connect(self._address)
            connection.sendall(request)
            while connection.recv(1) and not ended.wait(1):
                pass

    def _connect(self) -> tuple[Connection, float]:
        """Return a connection, and the seconds that it took to establish it."""
        with contextlib.suppress(queue.Empty):
            while True:
                connection = self._idle.get_nowait()
                if connection.sock is not None and not _is_closed(connection.sock):
                    return connection, 0.0
                connection.close()
        started = time.monotonic()
        connection = Connection(*self._address, timeout=ACCEPT_LIMIT_S)
        try:
            connection.connect()
        except OSError as error:
            connection.close()
            message = (
                f"the container did not accept a connection within {ACCEPT_LIMIT_S * 1000:g} ms "
                f"(HO-7): {error}"
            )
            raise RequestError(424, message) from error
        return connection, time.monotonic() - started

    def close(self) -> None:
        """Close all idle connections, and from now on each one after its request."""
        self._is_closed = True
        with contextlib.suppress(queue.Empty):
            while True:
                self._idle.get_nowait().close()


def _describe(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def is_listening(address: tuple[str, int]) -> bool:
    """Return whether something accepts connections at an address, and keeps them.

    A published port of the engine accepts them for a container that does not, and closes them.
    """
    try:
        connection = socket.create_connection(address, ACCEPT_LIMIT_S)
    except OSError:
        return False
    with connection:
        connection.settimeout(_PROXY_CLOSES_S)
        try:
            return connection.recv(1) != b""
        except TimeoutError:
            return True
        except OSError:
            return False


def _is_closed(connection: socket.socket) -> bool:
    """Return whether the peer has closed an idle connection, or sent what nobody asked for."""
    poll = select.poll()
    poll.register(connection, select.POLLIN)
    return bool(poll.poll(0))
