"""One request through a WSGI application."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from container.serving import exchange
from container.serving.event_worker import wsgi
from container.serving.event_worker.http1 import Head
from container.serving.exchange import Response

HEAD = Head(
    "POST",
    "/a%20b?c=%20",
    {"content-type": "text/csv", "content-length": "3", "x-a": "1"},
    body_bytes=3,
    keep_alive=True,
    expects_continue=False,
)


def test_request_and_response_are_passed_on() -> None:
    seen: dict[str, Any] = {}

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        seen.update(environ)
        environ[exchange.ENVIRON_KEY] = Response(200, request_id="i", seconds={"predict": 1.0})
        headers = [("Content-Type", "text/plain"), ("Content-Length", "2"), ("Allow", "GET")]
        write = start_response("405 METHOD NOT ALLOWED", headers)
        write(b"a")
        return [seen["wsgi.input"].read()]

    response = wsgi.call(application, HEAD, b"1,2")

    assert response == Response(
        405, b"a1,2", "text/plain", (("Allow", "GET"),), None, "i", {"predict": 1.0}
    )
    assert (seen["PATH_INFO"], seen["QUERY_STRING"]) == ("/a b", "c=%20")
    assert (seen["CONTENT_TYPE"], seen["CONTENT_LENGTH"], seen["HTTP_X_A"]) == (
        "text/csv",
        "3",
        "1",
    )
    assert not {"HTTP_CONTENT_TYPE", "HTTP_CONTENT_LENGTH"} & set(seen)


def test_body_that_breaks_off_is_closed() -> None:
    class Body:
        closed = False

        def __iter__(self) -> Iterator[bytes]:
            raise ConnectionAbortedError

        def close(self) -> None:
            self.closed = True

    body = Body()

    def application(_: Any, start_response: Callable[..., Any]) -> Body:
        start_response("200 OK", [])
        return body

    with pytest.raises(ConnectionAbortedError):
        wsgi.call(application, HEAD, b"")

    assert body.closed
