"""The event worker against clients that are slow, greedy, rude or gone, and under signals."""

import contextlib
import hashlib
import io
import json
import os
import re
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support import wait_until

HEAD = b"POST /invocations HTTP/1.1\r\nHost: a\r\nContent-Type: text/csv\r\n"
ROW = b"0," * 63 + b"255"


@contextlib.contextmanager
def connect(server: Any) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        yield connection


def read_to_its_end(connection: socket.socket) -> bytes:
    return b"".join(iter(lambda: connection.recv(1 << 20), b""))


def read_response(stream: Any) -> tuple[int, bytes]:
    """Read one response from a connection's file, with a body of its content length."""
    status = int(stream.readline().split()[1])
    headers = dict(
        line.decode().strip().lower().split(": ", 1) for line in iter(stream.readline, b"\r\n")
    )
    return status, stream.read(int(headers["content-length"]))


def to_npy(array: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


@pytest.fixture(scope="module")
def slow_body() -> bytes:
    """Make a body that a core computes for a second or so: 4 MB of digits."""
    return to_npy(np.zeros((4 * 2**20 // 64, 64), np.uint8))


def ask_slowly(server: Any, body: bytes, answers: list[tuple[int, float]]) -> threading.Thread:
    """Send `body` from a thread; its status and seconds go into `answers`."""

    def ask() -> None:
        start = time.monotonic()
        status, _, _ = server.request(
            "POST",
            "/invocations",
            body,
            Content_Type="application/x-npy",
            Accept="application/x-npy",
        )
        answers.append((status, time.monotonic() - start))

    thread = threading.Thread(target=ask)
    thread.start()
    return thread


def test_pipelined_requests_are_answered_in_their_order(server: Any) -> None:
    one = b"GET /ping HTTP/1.1\r\nHost: a\r\n\r\n"
    invocation = HEAD + b"Accept: text/csv\r\nContent-Length: %d\r\n\r\n" % len(ROW) + ROW
    unknown = b"GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n"
    with connect(server) as connection, connection.makefile("rb") as stream:
        connection.sendall((one + invocation + unknown) * 50)

        statuses = [read_response(stream)[0] for _ in range(150)]

    assert statuses == [200, 200, 404] * 50


def test_request_may_come_byte_by_byte(server: Any) -> None:
    request = HEAD + b"Content-Length: %d\r\n\r\n" % len(ROW) + ROW
    with connect(server) as connection, connection.makefile("rb") as stream:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(2):
            for byte in request:
                connection.sendall(bytes([byte]))
            assert read_response(stream)[0] == 200


def test_client_that_closes_its_sending_side_gets_its_answer(server: Any) -> None:
    with connect(server) as connection:
        connection.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % len(ROW) + ROW)
        connection.shutdown(socket.SHUT_WR)

        assert read_to_its_end(connection).startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize(
    "request_start", [b"", b"GET /pi", HEAD, HEAD + b"Content-Length: 9\r\n\r\n1,2"]
)
def test_client_that_leaves_in_the_middle_harms_nobody(server: Any, request_start: bytes) -> None:
    with connect(server) as connection:
        connection.sendall(request_start)

    assert server.request("GET", "/ping")[0] == 200


def test_http_1_0_is_answered_and_closed(server: Any) -> None:
    with connect(server) as connection:
        connection.sendall(b"GET /ping HTTP/1.0\r\n\r\n")

        assert b"Connection: close\r\n" in read_to_its_end(connection)


def test_head_request_has_no_body(server: Any) -> None:
    with connect(server) as connection:
        connection.sendall(b"HEAD /ping HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")

        assert read_to_its_end(connection).endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET /ping HTTP/1.1\r\n\r\n", 400),
        (HEAD + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (HEAD + b"Transfer-Encoding: gzip\r\n\r\n", 501),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\nfffffff\r\n", 413),
        (HEAD + b"Content-Length: 99999999999\r\n\r\n", 413),
        (HEAD + b"Expect: 100-continue\r\nContent-Length: 99999999999\r\n\r\n", 413),
        (b"GET /ping HTTP/1.1\r\n" + b"X: " + b"y" * 40_000, 431),
        (b"GET /ping HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 101 + b"\r\n", 431),
    ],
)
def test_request_that_cannot_be_read_is_refused_in_json_and_closed(
    server: Any, request_bytes: bytes, status: int
) -> None:
    with connect(server) as connection:
        connection.sendall(request_bytes)
        answer = read_to_its_end(connection)

    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert set(json.loads(body)) == {"error", "request_id"}


def test_refusal_reaches_a_client_that_is_still_sending(server: Any) -> None:
    """HO-9: without care the connection is reset before the client reads its 413."""
    with connect(server) as connection:
        connection.sendall(HEAD + b"Content-Length: 99999999\r\n\r\n")
        with contextlib.suppress(OSError):
            for _ in range(100):
                connection.sendall(bytes(100_000))

        assert connection.recv(100).startswith(b"HTTP/1.1 413 ")


def test_ping_answers_at_once_while_every_worker_computes(serve: Any, slow_body: bytes) -> None:
    """HO-4: within two seconds, of which an idle machine needs a hundredth."""
    with serve(SAGEMAKER_MODEL_SERVER_WORKERS="2") as server:
        answers: list[tuple[int, float]] = []
        threads = [ask_slowly(server, slow_body, answers) for _ in range(4)]
        pings = []
        while any(thread.is_alive() for thread in threads):
            start = time.monotonic()
            assert server.request("GET", "/ping")[0] == 200
            pings.append(time.monotonic() - start)
            time.sleep(0.01)

        assert [status for status, _ in answers] == [200] * 4
        assert len(pings) > 10
        assert max(pings) < 2


def test_small_request_does_not_wait_for_a_large_one(serve: Any, slow_body: bytes) -> None:
    with serve(SAGEMAKER_MODEL_SERVER_WORKERS="1") as server:
        answers: list[tuple[int, float]] = []
        thread = ask_slowly(server, slow_body, answers)
        answered = 0
        while thread.is_alive():
            assert server.request("POST", "/invocations", ROW, Content_Type="text/csv")[0] == 200
            answered += 1

        assert answers[0][0] == 200
        assert answered > 2


def test_full_queue_is_503_with_retry_after_at_once(serve: Any, slow_body: bytes) -> None:
    """RQ-6."""
    with serve(SAGEMAKER_MODEL_SERVER_WORKERS="1", BYO_QUEUE_REQUESTS="2") as server:
        answers: list[tuple[int, float]] = []
        threads = [ask_slowly(server, slow_body, answers) for _ in range(6)]
        wait_until(lambda: any(status == 503 for status, _ in answers))
        status, headers, body = server.request(
            "POST", "/invocations", slow_body, Content_Type="application/x-npy"
        )
        for thread in threads:
            thread.join()

        assert (status, headers["retry-after"]) == (503, "1")
        assert "2 requests are waiting already" in json.loads(body)["error"]
        statuses = sorted(status for status, _ in answers)
        assert statuses[:2] == [200, 200]
        assert statuses[-1] == 503
        assert set(statuses) == {200, 503}
        assert "2 requests are waiting already" in server.log.read_text()


def test_gauges_and_errors_tell_what_the_worker_goes_through(serve: Any, slow_body: bytes) -> None:
    """HO-17."""
    with serve(SAGEMAKER_MODEL_SERVER_WORKERS="1", BYO_QUEUE_REQUESTS="3") as server:

        def read(name: str) -> float:
            lines = server.request("GET", "/metrics")[2].decode().splitlines()
            return float(dict(line.rsplit(" ", 1) for line in lines)[name])

        answers: list[tuple[int, float]] = []
        threads = [ask_slowly(server, slow_body, answers) for _ in range(4)]
        wait_until(lambda: read("serving_queue_requests") >= 1)
        assert read("serving_requests_in_flight") >= 2
        assert read("serving_connections") >= 2
        assert read("serving_workers") == 1
        for thread in threads:
            thread.join()
        with connect(server) as connection:
            connection.sendall(b"nonsense\r\n\r\n")
            read_to_its_end(connection)
        with connect(server) as connection:
            connection.sendall(HEAD)

        assert sorted(status for status, _ in answers) == [200, 200, 200, 503]
        wait_until(lambda: read("serving_queue_requests") == 0)
        wait_until(lambda: read('serving_errors_total{kind="gone"}') == 1)
        assert read('serving_errors_total{kind="busy"}') == 1
        assert read('serving_errors_total{kind="unreadable"}') == 1
        assert read('serving_requests_total{status="503"}') == 1
        assert read('serving_requests_total{status="200"}') == 3
        (info,) = re.findall(
            r"^serving_info\{.*\} 1$", server.request("GET", "/metrics")[2].decode(), re.MULTILINE
        )
        manifest = (server.base / "model/model.json").read_bytes()
        assert f'model="{hashlib.sha256(manifest).hexdigest()[:12]}"' in info


def test_gauges_of_a_killed_worker_are_forgotten(serve: Any) -> None:
    with serve(SAGEMAKER_MODEL_SERVER_WORKERS="2") as server:

        def count_workers() -> int:
            return int(dict(line.rsplit(" ", 1) for line in read_lines())["serving_workers"])

        def read_lines() -> list[str]:
            return [
                str(line) for line in server.request("GET", "/metrics")[2].decode().splitlines()
            ]

        wait_until(lambda: count_workers() == 2)
        for _ in range(3):
            pids = server.worker_pids()
            os.kill(pids[0], signal.SIGKILL)
            wait_until(
                lambda killed=pids[0]: (
                    len(server.worker_pids()) == 2 and killed not in server.worker_pids()
                )
            )
            wait_until(lambda: count_workers() == 2)


def test_two_hundred_half_sent_requests_leave_room_for_everybody_else(serve: Any) -> None:
    """HO-7: eight of them block a small threaded server altogether."""
    with serve(SAGEMAKER_MODEL_SERVER_WORKERS="1") as server, contextlib.ExitStack() as stack:
        loris = [stack.enter_context(connect(server)) for _ in range(200)]
        for index, connection in enumerate(loris):
            connection.sendall(
                b"GET /ping" if index % 2 else HEAD + b"Content-Length: 1000\r\n\r\n1,2"
            )

        start = time.monotonic()
        assert server.request("GET", "/ping")[0] == 200
        assert server.request("POST", "/invocations", ROW, Content_Type="text/csv")[0] == 200
        # A blocked server would be free again after the ten seconds that a head may take.
        assert time.monotonic() - start < 8


def test_half_sent_request_is_given_up_after_its_time(serve: Any) -> None:
    environ = {"SAGEMAKER_MODEL_SERVER_WORKERS": "1", "SAGEMAKER_MODEL_SERVER_TIMEOUT": "1"}
    with serve(**environ) as server, connect(server) as connection:
        connection.sendall(HEAD + b"Content-Length: 1000\r\n\r\n1,2")

        assert read_to_its_end(connection).startswith(b"HTTP/1.1 408 ")


def test_prediction_beyond_the_time_is_503_and_its_worker_replaced(serve: Any) -> None:
    """HO-8."""
    body = to_npy(np.zeros((50 * 2**20 // 64, 64), np.uint8))
    environ = {"SAGEMAKER_MODEL_SERVER_WORKERS": "1", "SAGEMAKER_MODEL_SERVER_TIMEOUT": "1"}
    with serve(**environ, SAGEMAKER_MAX_PAYLOAD_IN_MB="100") as server:
        (pid,) = server.worker_pids()
        answers: list[tuple[int, float]] = []
        ask_slowly(server, body, answers).join()

        assert [status for status, _ in answers] == [503]
        wait_until(lambda: server.worker_pids() not in ([], [pid]))
        server.wait_until_healthy()


def test_sigterm_loses_no_request_of_clients_that_keep_asking(serve: Any) -> None:
    """HO-10: every response is complete; the last one announces the end of the connection."""
    with serve(SAGEMAKER_MODEL_SERVER_WORKERS="2") as server:
        request = HEAD + b"Content-Length: %d\r\n\r\n" % len(ROW) + ROW
        lost: list[str] = []
        counts: list[int] = []

        def keep_asking() -> None:
            count = 0
            with connect(server) as connection, connection.makefile("rb") as stream:
                while True:
                    connection.sendall(request)
                    line = stream.readline()
                    if not line.startswith(b"HTTP/1.1 200"):
                        lost.append(f"after {count}: {line!r}")
                        break
                    headers = dict(
                        item.decode().strip().split(": ", 1)
                        for item in iter(stream.readline, b"\r\n")
                    )
                    body = stream.read(int(headers["Content-Length"]))
                    json.loads(body)
                    count += 1
                    if headers["Connection"] == "close":
                        break
            counts.append(count)

        clients = [threading.Thread(target=keep_asking) for _ in range(8)]
        for client in clients:
            client.start()
        wait_until(lambda: server.request("GET", "/ping")[0] == 200)
        os.kill(server.process.pid, signal.SIGTERM)
        for client in clients:
            client.join()

        assert lost == []
        assert min(counts) > 0
        assert server.process.wait(30) == 0


def test_new_connection_is_refused_at_once_while_the_server_stops(
    serve: Any, slow_body: bytes
) -> None:
    """HO-10."""
    with serve(SAGEMAKER_MODEL_SERVER_WORKERS="1") as server:
        answers: list[tuple[int, float]] = []
        thread = ask_slowly(server, slow_body, answers)
        wait_until(lambda: server.request("GET", "/ping")[0] == 200)
        time.sleep(0.2)
        os.kill(server.process.pid, signal.SIGTERM)

        def is_refused() -> bool:
            try:
                with connect(server):
                    return False
            except ConnectionRefusedError:
                return True

        wait_until(is_refused)
        thread.join()
        assert answers[0][0] == 200


def test_killed_worker_loses_nobody_elses_connection(serve: Any) -> None:
    """S3."""
    request = b"GET /ping HTTP/1.1\r\nHost: a\r\n\r\n"
    with serve(SAGEMAKER_MODEL_SERVER_WORKERS="2") as server, contextlib.ExitStack() as stack:
        server.wait_until_all_workers_serve(2)
        clients: dict[int, list[tuple[socket.socket, Any]]] = {}
        while len(clients) < 2:
            before = server.list_sockets()
            connection = stack.enter_context(connect(server))
            stream = stack.enter_context(connection.makefile("rb"))
            connection.sendall(request)
            assert read_response(stream)[0] == 200
            pids = [pid for pid, links in server.list_sockets().items() if links - before[pid]]
            clients.setdefault(pids[0], []).append((connection, stream))
        victim, survivor = clients

        os.kill(victim, signal.SIGKILL)

        for connection, stream in clients[survivor]:
            connection.sendall(request)
            assert read_response(stream)[0] == 200
        for connection, _ in clients[victim]:
            with contextlib.suppress(ConnectionResetError):
                assert connection.recv(1) == b""
        wait_until(lambda: len(server.worker_pids()) == 2)
        assert server.request("GET", "/ping")[0] == 200


def test_connections_are_shared_out_evenly(serve: Any) -> None:
    """A worker that a busy machine starves for a second and a half is passed over: try again."""
    with serve(SAGEMAKER_MODEL_SERVER_WORKERS="2") as server:

        def is_shared_out() -> bool:
            server.wait_until_all_workers_serve(2)
            before = server.list_sockets()
            with contextlib.ExitStack() as stack:
                for _ in range(20):
                    connection = stack.enter_context(connect(server))
                    stream = stack.enter_context(connection.makefile("rb"))
                    connection.sendall(b"GET /ping HTTP/1.1\r\nHost: a\r\n\r\n")
                    assert read_response(stream)[0] == 200
                after = server.list_sockets()
            counts = [len(links - before[pid]) for pid, links in after.items()]
            return sum(counts) == 20 and abs(counts[0] - counts[1]) <= 4

        assert any(is_shared_out() for _ in range(3))


def test_orphaned_worker_stops(serve: Any) -> None:
    with serve(SAGEMAKER_MODEL_SERVER_WORKERS="1") as server:
        (pid,) = server.worker_pids()

        os.kill(server.process.pid, signal.SIGKILL)

        wait_until(
            lambda: (
                not Path(f"/proc/{pid}").exists() or "Z" in Path(f"/proc/{pid}/stat").read_text()
            )
        )
