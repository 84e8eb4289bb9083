"""HTTP to containers that send too much, too slowly, or nonsense, over real sockets."""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from container.errors import RequestError
from local_test.conformance.sessions.exchange import Peer
from local_test.endpoints import client
from local_test.endpoints.client import Client, Connection

LIMIT_S = 0.1
PAUSE_S = 0.02  # several of them fit into the limit, so that no single pause exceeds it
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"


@contextlib.contextmanager
def container(
    start: bytes, again: bytes = b"", pause_s: float = 0.0, *, then: bytes = b""
) -> Iterator[tuple[str, int]]:
    """Run a server that answers with `start`, then with `again` for ever, if it is not empty.

    Further requests on a connection are answered with `then`.
    """
    is_over = threading.Event()

    def answer(peer: socket.socket) -> None:
        with peer, contextlib.suppress(OSError):
            peer.recv(65536)
            peer.sendall(start)
            while again and not is_over.wait(pause_s):
                peer.sendall(again)
            if not then:
                peer.shutdown(socket.SHUT_WR)
            while peer.recv(65536):  # closing before all is read would take the answer back
                peer.sendall(then)

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                peer, _ = listener.accept()
                peers.append(peer)
                threads.append(threading.Thread(target=answer, args=(peer,)))
                threads[-1].start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        peers: list[socket.socket] = []
        threads = [threading.Thread(target=serve)]
        threads[0].start()
        try:
            yield listener.getsockname()
        finally:
            is_over.set()
            for open_one in (listener, *peers):
                with contextlib.suppress(OSError):  # it has ended
                    open_one.shutdown(socket.SHUT_RDWR)
            for thread in threads:
                thread.join()


Ask = Callable[[tuple[str, int], float], object]


def make_client(address: tuple[str, int], limit_s: float = 60) -> Client:
    return Client(address, "v", invocation_s=limit_s, stream_s=limit_s)


def ask_conformance(address: tuple[str, int], limit_s: float) -> None:
    reply = Peer(address, limit_s).ask("GET", "/ping")
    if not reply.status:
        raise RequestError(424, reply.error)


ASKS: dict[str, Ask] = {
    "exchange": lambda *arguments: make_client(*arguments).exchange("GET", "/ping"),
    "post": lambda *arguments: make_client(*arguments).post("/invocations", b"1", {}),
    "stream": lambda *arguments: list(make_client(*arguments).stream(b"1", {}).parts),
    "conformance": ask_conformance,
}


@pytest.mark.parametrize("ask", ASKS.values(), ids=ASKS)
@pytest.mark.parametrize(
    ("start", "again"),
    [
        (b"", b"H"),
        (HEAD, b"X: y\r\n"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (HEAD + b"Content-Length: 1000000\r\n\r\n", b"x"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"trailer: x\r\n"),
        (HEAD + b"\r\n", b"x"),
    ],
)
def test_a_container_that_sends_byte_after_byte_is_left_at_the_limit(
    ask: Ask, start: bytes, again: bytes
) -> None:
    with container(start, again, PAUSE_S) as address, pytest.raises(RequestError):
        ask(address, LIMIT_S)


@pytest.mark.parametrize("name", ["exchange", "post", "conformance"])
@pytest.mark.parametrize(
    ("head", "piece"),
    [
        (b"\r\n", b"x" * 65536),
        (b"Transfer-Encoding: chunked\r\n\r\n", b"10000\r\n" + b"x" * 65536 + b"\r\n"),
        (b"Content-Length: 9999999999999\r\n\r\n", b"x" * 65536),
    ],
)
def test_an_answer_without_end_takes_no_more_than_is_allowed(
    monkeypatch: pytest.MonkeyPatch, name: str, head: bytes, piece: bytes
) -> None:
    for module, limit in (
        (client, "ANSWER_BYTES"),
        (client, "_DOCUMENT_BYTES"),
    ):
        monkeypatch.setattr(module, limit, 100_000)
    monkeypatch.setattr("local_test.conformance.sessions.exchange.ANSWER_BYTES", 100_000)
    too_long = pytest.raises(RequestError, match="more than 100000 bytes")
    with container(HEAD + head, piece) as address, too_long:
        ASKS[name](address, 60)


def test_an_answer_is_read_to_its_end_and_the_connection_used_again() -> None:
    answer = HEAD + b"Content-Length: 3\r\n\r\nabc"
    with container(answer, then=answer) as address:
        asked = make_client(address)
        first, second = (asked.post("/invocations", b"", {}) for _ in range(2))
        asked.close()
    assert (first.body, second.body) == (b"abc", b"abc")
    assert first.connect_s > second.connect_s == 0


def test_an_answer_that_is_cut_off_is_no_answer() -> None:
    cut_off = pytest.raises(RequestError, match="IncompleteRead")
    with container(HEAD + b"Content-Length: 4\r\n\r\nabc") as address, cut_off:
        make_client(address).post("/invocations", b"1", {})
    with container(HEAD + b"Content-Length: 5\r\n\r\nabcde") as address:
        connection = Connection(*address, timeout=5)
        connection.request("GET", "/")
        with pytest.raises(http.client.HTTPException, match="more than 4"):
            client.read(connection.getresponse(), 4)
        connection.close()


def test_a_header_that_is_folded_comes_as_one_line() -> None:
    folded = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain;\r\n charset=utf-8\r\n"
    answer = folded + b"Connection: close\r\nContent-Length: 0\r\n\r\n"
    with container(answer) as address:
        found = make_client(address).post("/invocations", b"1", {})
    assert found.headers["content-type"] == "text/plain;  charset=utf-8"
