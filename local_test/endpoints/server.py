"""One serving container: pings, requests within the platform's limits, and the stop (HO-1 to HO-10)."""

from __future__ import annotations

import contextlib
import http.client
import queue
import signal
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from container import contract
from container.errors import RequestError, UserError
from local_test import identity
from local_test.data import job_outputs
from local_test.runners.interface import Container, Launch, Runner
from local_test.runners.log_lines import LineSplitter, OnLine

STARTUP_LIMIT_S: Final = 8 * 60  # HO-5
PING_INTERVAL_S: Final = 5  # not established by the platform's documents; what its local modes use
STREAM_LIMIT_S: Final = 8 * 60  # HO-8
ACCEPT_LIMIT_S: Final = 0.25  # HO-7
ORIGINAL_MESSAGE_CHARACTERS: Final = 2048  # RQ-6
HEADER_PREFIX: Final = "x-amzn-sagemaker-"
# RQ-5, SE-1: what comes back to the caller besides the body.
RETURNED_HEADERS: Final = frozenset(
    {"content-type"}
    | {
        HEADER_PREFIX + name
        for name in ("custom-attributes", "new-session-id", "closed-session-id")
    }
)


@dataclass(frozen=True)
class Answer:
    """What a container answered, and what a caller of InvokeEndpoint sees of it."""

    status: int
    """The container's own status."""
    headers: Mapping[str, str]
    """The container's headers that reach the caller, names in lower case."""
    body: bytes
    variant: str
    connect_s: float
    """Seconds until the connection stood; 0 for one that was kept."""
    first_byte_s: float
    """Seconds from the request's first byte to the answer's: the platform's ModelLatency, nearly."""
    total_s: float
    findings: tuple[str, ...] = ()
    """Contract clauses that this exchange broke although it went well."""

    @property
    def caller_status(self) -> int:
        """The status that a caller of InvokeEndpoint sees: 424 for whatever the container refused (RQ-6)."""
        return 200 if self.status < 400 else 424

    def model_error(self, endpoint: str) -> dict[str, Any]:
        """Give the ModelError that a caller sees of a refusal."""
        text = self.body[: 4 * ORIGINAL_MESSAGE_CHARACTERS].decode("utf-8", "replace")[
            :ORIGINAL_MESSAGE_CHARACTERS
        ]
        kind = "client" if self.status < 500 else "server"
        return {
            "ErrorCode": "CLIENT_ERROR_FROM_MODEL"
            if self.status < 500
            else "SERVER_ERROR_FROM_MODEL",
            "LogStreamArn": identity.arn("endpoint", endpoint).replace(":sagemaker:", ":logs:"),
            "Message": f'Received {kind} error ({self.status}) from {self.variant} with message "{text}".',
            "OriginalMessage": text,
            "OriginalStatusCode": self.status,
        }


@dataclass(frozen=True)
class Limits:
    """The platform's time and size limits for one endpoint; tests shorten them."""

    startup_s: float = STARTUP_LIMIT_S
    ping_s: float = contract.PING_LIMIT_S
    ping_interval_s: float = PING_INTERVAL_S
    invocation_s: float = contract.INVOCATION_LIMIT_S
    stream_s: float = STREAM_LIMIT_S
    payload_bytes: int = contract.REALTIME_PAYLOAD_BYTES
    stop_grace_s: float = contract.SERVING_STOP_GRACE_S


class Server:
    """One serving container and the connections to it."""

    def __init__(
        self, launch: Launch, runner: Runner, limits: Limits, on_line: OnLine, *, variant: str = ""
    ) -> None:
        """Start the container; `variant` is what its answers name."""
        self.name = launch.name
        self.variant = variant or launch.name
        self.limits = limits
        self.is_healthy = False
        self._is_stopping = False
        self.ping_s = 0.0
        """How long the last ping took."""
        splitter = LineSplitter(lambda line: on_line(launch.name, line))
        self.container: Container = runner.start(launch, splitter.feed)
        self._idle: queue.SimpleQueue[http.client.HTTPConnection] = queue.SimpleQueue()

    def wait_until_healthy(self) -> float:
        """Ping until the first 200 and give the seconds that it took.

        Raises: UserError if the server ends, or the limit passes, first (HO-5).
        """
        started = time.monotonic()
        pause_s, last = 0.01, "no answer"
        while (passed := time.monotonic() - started) < self.limits.startup_s:
            code = self.container.wait(pause_s)
            if code is not None:
                message = f"the server ended before it answered a ping: {job_outputs.explain_exit(code, self.container.note)}"
                raise UserError(message)
            status, last = self.ping()
            if status == 200:
                self.is_healthy = True
                return time.monotonic() - started
            pause_s = min(pause_s * 1.3, 0.25)
        message = (
            f"{self.name} did not pass the ping health check within {passed:.0f} s (HO-5): last, {last}"
            f"{self._hint(last)}"
        )
        raise UserError(message)

    def _hint(self, last: str) -> str:
        """Say what is known of a server that listens where the platform does not look."""
        host, port = self.container.address
        elsewhere = (
            f"something listens on {contract.DEFAULT_PORT}, but the server was told "
            f"{contract.BIND_TO_PORT_VARIABLE}={port} (HO-1)"
        )
        if _is_listening((host, port)):
            return (
                "; it accepts connections, but does not answer in time (HO-4)"
                if "timed out" in last
                else ""
            )
        for candidate, advice in (
            (("127.0.0.1", port), "it listens on 127.0.0.1 alone; bind 0.0.0.0 (HO-1)"),
            (("127.0.0.1", contract.DEFAULT_PORT), elsewhere),
        ):
            if candidate != (host, port) and _is_listening(candidate):
                return f"; {advice}"
        return ""

    def ping(self) -> tuple[int, str]:
        """Send GET /ping on a connection of its own; give its status, 0 without one, and what happened."""
        started = time.monotonic()
        connection = http.client.HTTPConnection(*self.container.address, timeout=self.limits.ping_s)
        try:
            connection.request("GET", "/ping", headers={"User-Agent": "AHC/2.0"})
            response = connection.getresponse()
            response.read()
        except (OSError, http.client.HTTPException) as error:
            return 0, f"{type(error).__name__}: {error}"
        else:
            return response.status, f"status {response.status}"
        finally:
            self.ping_s = time.monotonic() - started
            connection.close()

    def exchange(self, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
        """Send a request of the platform's own, on a connection of its own; give status and body.

        Raises: RequestError 424 if there is no answer.
        """
        connection = http.client.HTTPConnection(
            *self.container.address, timeout=self.limits.invocation_s
        )
        headers = {"Content-Type": "application/json"} if body else {}
        try:
            connection.request(method, path, body or None, headers)
            response = connection.getresponse()
            return response.status, response.read()
        except (OSError, http.client.HTTPException) as error:
            message = f"{method} {path} was not answered: {type(error).__name__}: {error}"
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
        """Send a POST within the platform's limits; in chunks of no told length if asked for (BT-6).

        Raises: RequestError 424 if the server does not accept, breaks off or exceeds the time
        (HO-7, HO-8).
        """
        started = time.monotonic()
        connection, connect_s = self._connect()
        connection.sock.settimeout(limit_s or self.limits.invocation_s)
        try:
            if is_chunked:
                connection.request("POST", path, iter([body]), dict(headers), encode_chunked=True)
            else:
                connection.request("POST", path, body, dict(headers))
            response = connection.getresponse()
            first_byte_s = time.monotonic() - started
            payload = response.read()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            message = f"the container broke off after {time.monotonic() - started:.1f} s: {type(error).__name__}: {error}"
            if isinstance(error, TimeoutError):
                message = (
                    f"the container did not answer within {self.limits.invocation_s:g} s (HO-8)"
                )
            raise RequestError(424, message) from error
        if response.will_close or self._is_stopping:
            connection.close()
        else:
            self._idle.put(connection)
        returned = {
            name.lower(): value
            for name, value in response.getheaders()
            if name.lower() in RETURNED_HEADERS
        }
        return Answer(
            status=response.status,
            headers=returned,
            body=payload,
            variant=self.variant,
            connect_s=connect_s,
            first_byte_s=first_byte_s,
            total_s=time.monotonic() - started,
            findings=()
            if "content-type" in returned or not payload
            else ("the answer has no Content-Type (RQ-4)",),
        )

    def stream(
        self, body: bytes, headers: Mapping[str, str]
    ) -> tuple[int, dict[str, str], Iterator[bytes]]:
        """Send a POST whose answer is read part by part as it comes (ST-1); give status, headers and the parts.

        Raises: RequestError 424 if it does not begin; the iterator raises it if the stream breaks
        or lasts too long.
        """
        connection, _ = self._connect()
        try:
            connection.request("POST", "/invocations", body, dict(headers))
            response = connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            message = f"the container broke off: {type(error).__name__}: {error}"
            raise RequestError(424, message) from error
        deadline = time.monotonic() + self.limits.stream_s

        def read_parts() -> Iterator[bytes]:
            try:
                while part := response.read1(65536):
                    yield part
                    if time.monotonic() > deadline:
                        raise RequestError(
                            424, "ModelInvocationTimeExceeded: the stream lasted too long (HO-8)"
                        )
            except (OSError, http.client.HTTPException) as error:
                message = f"StreamBroken: {type(error).__name__}: {error} (ST-1)"
                raise RequestError(424, message) from error
            finally:
                connection.close()

        returned = {
            name.lower(): value
            for name, value in response.getheaders()
            if name.lower() in RETURNED_HEADERS
        }
        return response.status, returned, read_parts()

    def read_slowly(self, body: bytes, headers: Mapping[str, str], ended: threading.Event) -> None:
        """Send a POST and take a byte of its answer a second, until it is over, the server goes, or `ended` is set."""
        host, port = self.container.address
        lines = [
            f"{name}: {value}\r\n"
            for name, value in {**headers, "Content-Length": str(len(body))}.items()
        ]
        with contextlib.suppress(OSError), socket.socket() as connection:
            connection.setsockopt(
                socket.SOL_SOCKET, socket.SO_RCVBUF, 1
            )  # the kernel must not take it for the caller
            connection.connect((host, port))
            head = f"POST /invocations HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{''.join(lines)}\r\n"
            connection.sendall(head.encode("latin-1") + body)
            while connection.recv(1) and not ended.wait(1):
                pass

    def _connect(self) -> tuple[http.client.HTTPConnection, float]:
        while not self._idle.empty():
            try:
                connection = self._idle.get_nowait()
            except queue.Empty:
                break
            if connection.sock is not None and not _is_closed(connection.sock):
                return connection, 0.0
            connection.close()
        started = time.monotonic()
        connection = http.client.HTTPConnection(*self.container.address, timeout=ACCEPT_LIMIT_S)
        try:
            connection.connect()
        except OSError as error:
            connection.close()
            message = f"the container did not accept a connection within {ACCEPT_LIMIT_S * 1000:g} ms (HO-7): {error}"
            raise RequestError(424, message) from error
        connection.sock.settimeout(self.limits.invocation_s)
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection, time.monotonic() - started

    def stop(self) -> tuple[int, bool]:
        """Stop as the platform does (HO-10): SIGTERM, the grace, SIGKILL; give exit code and whether it was killed."""
        self.is_healthy, self._is_stopping = False, True
        while (
            not self._idle.empty()
        ):  # the platform's router lets go of a server before it is stopped
            self._idle.get().close()
        self.container.send_signal(signal.SIGTERM)
        code = self.container.wait(self.limits.stop_grace_s)
        was_killed = code is None
        if was_killed:
            self.container.kill()
            code = self.container.wait()
        self.container.remove()
        while not self._idle.empty():
            self._idle.get().close()
        return code if code is not None else 137, was_killed


def _is_listening(address: tuple[str, int]) -> bool:
    try:
        socket.create_connection(address, ACCEPT_LIMIT_S).close()
    except OSError:
        return False
    return True


def _is_closed(connection: socket.socket) -> bool:
    """Tell whether the peer has closed a connection that lay idle."""
    timeout = connection.gettimeout()
    connection.settimeout(0)
    try:
        return connection.recv(1, socket.MSG_PEEK) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True
    finally:
        connection.settimeout(timeout)
