"""Answers of user code that HTTP cannot carry."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from container.errors import RequestError
from container.serving.exchange import Request
from container.serving.user_code.application import Application


def answer(transform: Any, content_type: str = "application/json", body: bytes = b"[1]") -> Any:
    def transform_fn(_model: Any, data: Any, _type: Any, _accept: Any, context: Any) -> Any:
        return transform(data, context)

    application = Application({"model_fn": lambda _: 1, "transform_fn": transform_fn}, Path())
    return application.invoke(Request(body, {"content-type": content_type}))


def set_header(name: Any, value: Any) -> Any:
    def transform(_data: Any, context: Any) -> Any:
        context.set_response_header(0, name, value)
        return "ok"

    return transform


def set_status(status: Any, body: Any = "") -> Any:
    def transform(_data: Any, context: Any) -> Any:
        context.set_response_status(status)
        return body

    return transform


@pytest.mark.parametrize(
    ("transform", "named"),
    [
        (set_header("X-Label", "\u65e5\u672c"), "X-Label"),
        (set_header("X-Label", "a\r\nSet-Cookie: b"), "X-Label"),
        (set_header("X-Label", "a\nb"), "X-Label"),
        (set_header("X-Label", "a\0b"), "X-Label"),
        (set_header("X-Label", "a\x7fb"), "X-Label"),
        (set_header("X Label", "a"), "X Label"),
        (set_header("X-Label\r\n", "a"), "X-Label"),
        (set_header("", "a"), "''"),
        (set_header(b"X-Label", "a"), "X-Label"),
        (set_header("Content-Length", "1"), "Content-Length"),
        (set_header("transfer-encoding", "chunked"), "transfer-encoding"),
        (set_header("Connection", "close"), "Connection"),
        (lambda *_: ("ok", "text/plain; x=\u65e5"), "Content-Type"),
        (lambda *_: ("ok", "text/plain\r\nA: b"), "Content-Type"),
        (lambda *_: ("ok", None), "content type"),
        *((set_status(status), f"status {status}") for status in (-5, 0, 99, 100, 199, 600, 1000)),
        *((set_status(status), "an integer is expected") for status in (200.5, [])),
        *((set_status(status, "body"), f"status {status}") for status in (204, 205, 304)),
    ],
)
def test_answer_that_http_cannot_carry_is_500_and_named_in_the_log(
    transform: Any, named: str, caplog: pytest.LogCaptureFixture
) -> None:
    """SEC-7."""
    with caplog.at_level(logging.INFO):
        response = answer(transform)

    assert response.status == 500
    assert response.headers == ()
    assert json.loads(response.body)["request_id"] in caplog.text
    assert named in caplog.text


def test_answer_that_http_can_carry_is_sent_as_it_is() -> None:
    """SEC-7."""
    assert answer(set_header("X-Label", "caf\xe9 \t1")).headers == (("X-Label", "caf\xe9 \t1"),)
    assert answer(set_header("X-Count", 3)).headers == (("X-Count", "3"),)
    assert answer(set_header("Content-Type", "text/csv")).headers == ()
    for status in (200, 204, 205, 304, 404, 599):
        assert (answer(set_status(status)).status, answer(set_status(status)).body) == (status, b"")


def test_user_code_that_exits_fails_its_request_only() -> None:
    """SEC-7."""

    def leave(*_: Any) -> None:
        raise SystemExit(1)

    def refuse(*_: Any) -> None:
        raise RequestError(99, "no")

    assert answer(leave).status == 500
    assert answer(refuse).status == 500


@pytest.mark.parametrize(
    "charset",
    ["idna", "punycode", "undefined", "unicode_escape", "rot13", "zlib", "x" * 900, "a\0", "\xe9"],
)
def test_charset_that_is_none_of_the_webs_is_the_clients_fault(charset: str) -> None:
    """RQ-8."""
    response = answer(lambda data, _: data, f"application/json; charset={charset}", b"xn--9" * 20)

    assert response.status == 415


@pytest.mark.parametrize("charset", ["utf-8", "UTF8", "latin-1", "l1", "utf-16", "cp1252"])
def test_charset_of_the_web_is_decoded(charset: str) -> None:
    body = '["caf\xe9"]'.encode(charset)

    response = answer(lambda data, _: data, f"application/json; charset={charset}", body)
    assert response.body.decode() == '["caf\xe9"]'
