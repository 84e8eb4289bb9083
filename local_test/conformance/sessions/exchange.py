"""Plain HTTP with a server under test: one connection for each request, and nothing added."""

import contextlib
import http.client
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from local_test.conformance.subject import Subject
from local_test.endpoints.client import ANSWER_BYTES, Connection, read


@dataclass(frozen=True)
class Reply:
    """An answer of a server; status 0 if there was none."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    """Names in lower case."""
    body: bytes = b""
    seconds: float = 0.0
    error: str = ""

    def __str__(self) -> str:
        """Describe it in one line."""
        if not self.status:
            return f"no answer: {self.error}"
        text = " ".join(self.body[:120].decode("utf-8", "replace").split())
        return f"{self.status} {text!r} in {self.seconds:.3f} s"

    @property
    def is_good(self) -> bool:
        """Whether the request succeeded."""
        return 200 <= self.status < 300


class Peer:
    """Sends requests to a server."""

    def __init__(self, address: tuple[str, int], timeout_s: float) -> None:
        self.address = address
        self._timeout_s = timeout_s

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        is_chunked: bool = False,
    ) -> Reply:
        """Send one request with only the headers that are given and those that HTTP needs."""
        started = time.monotonic()
        connection = Connection(*self.address, timeout=self._timeout_s)
        try:
            connection.putrequest(method, path, skip_accept_encoding=True)
            for name, value in (headers or {}).items():
                connection.putheader(name, value)
            _send_body(connection, body, is_chunked=is_chunked)
            response = connection.getresponse()
            payload = read(response, ANSWER_BYTES)
        except (OSError, http.client.HTTPException) as error:
            return Reply(
                0, seconds=time.monotonic() - started, error=f"{type(error).__name__}: {error}"
            )
        finally:
            connection.close()
        names = {name.lower(): value for name, value in response.getheaders()}
        return Reply(response.status, names, payload, time.monotonic() - started)

    def post(self, subject: Subject, body: bytes | None = None, **headers: str) -> Reply:
        """Send the valid request, with another body or other headers (`Content_Type`)."""
        payload = subject.body if body is None else body
        return self.ask("POST", "/invocations", payload, headers_of(subject, **headers))


def _send_body(
    connection: http.client.HTTPConnection, body: bytes | None, *, is_chunked: bool
) -> None:
    """End the request; a server may have refused it, and closed, before it has read everything."""
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        if is_chunked and body is not None:
            connection.putheader("Transfer-Encoding", "chunked")
            half = len(body) // 2 or 1
            connection.endheaders(iter([body[:half], body[half:]]), encode_chunked=True)
            return
        if body is not None:
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)


def headers_of(subject: Subject, **changes: str) -> dict[str, str]:
    """Return the headers of the valid request, some of them changed."""
    headers = {"Content-Type": subject.content_type, "Accept": subject.accept}
    return headers | {name.replace("_", "-"): value for name, value in changes.items()}


def pad(body: bytes, size: int) -> bytes:
    """Return a body of `size` bytes: spaces are added in its last line."""
    text = body.rstrip(b"\n")
    return text + b" " * (size - len(text))


@contextlib.contextmanager
def asking(peer: Peer, path: str, pause_s: float) -> Iterator[list[Reply]]:
    """Ask for `path` in a thread until the block ends, at least once, and collect the answers."""
    replies: list[Reply] = []
    is_over = threading.Event()

    def ask() -> None:
        while not (replies and is_over.is_set()):
            replies.append(peer.ask("GET", path))
            is_over.wait(pause_s)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield replies
    finally:
        is_over.set()
        thread.join()


def run_parallel(count: int, act: Callable[[], None]) -> None:
    """Call `act` in `count` threads at once and wait for all."""
    threads = [threading.Thread(target=act) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
