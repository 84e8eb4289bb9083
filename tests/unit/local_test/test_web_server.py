"""Bodies and answers that temporary files cannot hold."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
import waitress.wasyncore

from local_test import web_server
from local_test.endpoints.invocation_http import InvocationApi
from local_test.endpoints.invocation_server import GatedApi
from tests.support import file_size_limit

SIZES = [1, 500_000, 600_000, 5_000_000]
ANSWER = b"x" * 8_000_000


def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answer how long the body is, or that it is lost, or a long body."""
    if environ["PATH_INFO"] == "/long":
        start_response("200 OK", [("Content-Length", str(len(ANSWER)))])
        return [ANSWER]
    try:
        text = str(len(environ["wsgi.input"].read()))
    except OSError as error:
        text = type(error).__name__
    start_response("200 OK", [("Content-Length", str(len(text)))])
    return [text.encode()]


@pytest.fixture
def connection(request: pytest.FixtureRequest) -> Iterator[http.client.HTTPConnection]:
    sockets: dict[int, Any] = {}
    server = web_server.create_server(request.param, map=sockets, host="127.0.0.1", port=0)
    thread = threading.Thread(target=server.run)
    thread.start()
    client = http.client.HTTPConnection("127.0.0.1", server.effective_port, timeout=60)
    yield client
    client.close()
    server.task_dispatcher.shutdown()
    server.trigger.pull_trigger(lambda: waitress.wasyncore.close_all(sockets))
    thread.join()


def ask(client: http.client.HTTPConnection, path: str, body: Any = None) -> tuple[int, bytes]:
    client.request("POST", path, body)
    response = client.getresponse()
    return response.status, response.read()


@pytest.mark.parametrize("connection", [answer], indirect=True)
@pytest.mark.parametrize("is_chunked", [False, True])
def test_a_body_that_cannot_be_written_is_an_error_of_whoever_reads_it(
    connection: http.client.HTTPConnection, *, is_chunked: bool
) -> None:
    def post(size: int) -> bytes:
        body = b"x" * size
        pieces = (body[start : start + 70_000] for start in range(0, size, 70_000))
        status, text = ask(connection, "/", pieces if is_chunked else body)
        assert status == 200
        return text

    assert [post(size) for size in SIZES] == [str(size).encode() for size in SIZES]
    with file_size_limit(100_000):
        assert [post(size) for size in SIZES] == [b"1", b"500000", b"OSError", b"OSError"]
        assert ask(connection, "/long") == (200, ANSWER)
    assert post(600_000) == b"600000"


@pytest.mark.parametrize(
    "connection",
    [GatedApi(InvocationApi(lambda _: object()))],  # type: ignore[arg-type, return-value]
    indirect=True,
)
def test_an_endpoint_says_that_the_disk_is_full(connection: http.client.HTTPConnection) -> None:
    with file_size_limit(100_000):
        status, text = ask(connection, "/endpoints/e/invocations", b"x" * 600_000)
    assert status == 507
    assert "cannot write to the directory of temporary files" in json.loads(text)["Message"]
