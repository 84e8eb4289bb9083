"""One application behind each worker class and Flask's test client: the same answers."""

import gzip
import io
import json
import socket
import time
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from container import contract
from container.serving import plan
from container.serving.bodies import decoding, encoding
from container.serving.server_settings import Settings
from container.serving.service import Service


def to_npy(array: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


@pytest.fixture(scope="module")
def client(artifact_base: Path) -> Any:
    """Return Flask's own client of the application, without a server."""
    layout, settings = contract.Layout(artifact_base), Settings(payload_bytes=2**20)
    return Service(plan.make(layout, {}, settings, cores=1)).wsgi.test_client()


def take_apart(
    status: int, content_type: str | None, body: bytes
) -> tuple[int, str | None, object]:
    """Return the comparable part of an answer: each error has its own request id."""
    return status, content_type, json.loads(body)["error"] if status >= 400 and body else body


def assert_shells_agree(  # noqa: PLR0913, PLR0917 - a request's parts
    shells: Any, client: Any, method: str, path: str, headers: Any, body: bytes
) -> None:
    expected = client.open(path, method=method, headers=headers, data=body)
    wanted = take_apart(expected.status_code, expected.content_type, expected.data)
    for name, server in shells.items():
        status, found_headers, found = server.request(method, path, body, **headers)
        assert take_apart(status, found_headers.get("content-type"), found) == wanted, (
            name,
            method,
            path,
            headers,
        )


def test_every_worker_class_gives_the_answers_of_the_test_client(
    shells: Any, client: Any, images: Any
) -> None:
    """RQ-1, RQ-2."""
    row = b",".join(b"%d" % pixel for pixel in images[0].ravel())
    npy = to_npy(images[:50])
    requests: list[tuple[str, str, dict[str, str], bytes]] = [
        ("GET", "/ping", {}, b""),
        ("POST", "/ping", {}, b"x"),
        ("PUT", "/ping", {}, b""),
        ("HEAD", "/ping", {}, b""),
        ("GET", "/%70ing", {}, b""),
        ("GET", "/ping?a=b", {}, b""),
        ("GET", "/invocations", {}, b""),
        ("GET", "/nothing/%41?a=b", {}, b""),
        ("GET", "/execution-parameters", {}, b""),
        ("GET", "/openapi.json", {}, b""),
        ("POST", "/invocations", {"Content-Type": "text/csv"}, row),
        (
            "POST",
            "/invocations?x=1",
            {"Content-Type": "TEXT/CSV; charset=utf-8", "Accept": "text/csv"},
            row,
        ),
        (
            "POST",
            "/invocations",
            {"Content-Type": "application/x-npy", "Accept": "application/x-npy"},
            npy,
        ),
        ("POST", "/invocations", {"Content-Type": "application/x-npy", "Accept": "image/png"}, npy),
        (
            "POST",
            "/invocations?a=b",
            {"Content-Type": "text/csv", "Authorization": "x", "Cookie": "a=b", "X-Y": ""},
            row,
        ),
        ("POST", "/invocations", {"Content-Type": "text/plain"}, row),
        ("POST", "/invocations", {"Content-Type": "text/csv"}, b""),
        ("POST", "/invocations", {"Content-Type": "text/csv"}, b"1,2"),
        ("POST", "/invocations", {"Content-Type": "application/json"}, b"[" * 10_000),
        ("POST", "/invocations", {"Content-Type": "text/csv"}, b"\n".join([row] * 3000)),
        (
            "POST",
            "/invocations",
            {"Content-Type": "text/csv", "Content-Encoding": "gzip"},
            gzip.compress(row),
        ),
        ("POST", "/invocations", {"Content-Type": "text/csv"}, bytes(2**20 + 1)),
    ]
    for method, path, headers, body in requests:
        assert_shells_agree(shells, client, method, path, headers, body)


def test_a_client_that_is_still_sending_reads_its_refusal_from_every_worker_class(
    shells: Any,
) -> None:
    """RQ-6."""
    size_bytes = 2**20 + 1  # one too many
    head = b"POST /invocations HTTP/1.1\r\nHost: a\r\nContent-Type: text/csv\r\n"
    head += b"Content-Length: %d\r\n\r\n"
    for name, server in shells.items():
        with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
            connection.sendall(head % size_bytes)
            for _ in range(16):  # slowly, and more than the kernel would hold for the server
                connection.sendall(bytes(2**16))
                time.sleep(0.002)
            connection.sendall(b"\n")
            assert connection.recv(100).startswith(b"HTTP/1.1 413 "), name


TYPES = [
    *decoding.SUPPORTED,
    "TEXT/CSV; charset=utf-16",
    "application/json;charset=latin-1",
    "text/plain",
    "",
    "*/*",
    ";",
]
ACCEPTS = [
    *encoding.ENCODERS,
    "",
    "*/*",
    "text/*;q=0.5, application/json;q=0.4",
    "image/png",
    "text/csv;q=0",
    ",;=",
]
CELLS = st.sampled_from([b"0", b"7", b"255", b"256", b"0.5", b"nan", b"", b"-1", b'"1"'])
ROWS = st.one_of(
    st.lists(st.integers(0, 255), min_size=64, max_size=64).map(
        lambda row: b",".join(b"%d" % pixel for pixel in row)
    ),
    st.lists(CELLS, min_size=62, max_size=65).map(b",".join),
)
BODIES = st.one_of(
    st.binary(max_size=200),
    st.lists(ROWS, max_size=40).map(b"\n".join),
    st.lists(ROWS, min_size=1, max_size=3).map(
        lambda rows: b'{"instances": [[' + b"],[".join(rows) + b"]]}"
    ),
    st.builds(
        lambda count, tail: to_npy(np.zeros((count, 64), np.uint8)) + tail,
        st.integers(0, 40),
        st.binary(max_size=1),
    ),
)


@hypothesis.settings(max_examples=100, deadline=None, derandomize=True)
@hypothesis.given(
    content_type=st.sampled_from(TYPES),
    accept=st.sampled_from(ACCEPTS),
    attributes=st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20).map(
        str.strip
    ),
    body=BODIES,
)
def test_every_worker_class_gives_the_answers_of_the_test_client_to_any_request(  # noqa: PLR0913, PLR0917 - a request
    shells: Any, client: Any, content_type: str, accept: str, attributes: str, body: bytes
) -> None:
    # Werkzeug's client writes a boundary and a body of its own.
    hypothesis.assume(body or content_type != "multipart/form-data")
    headers = {
        "Content-Type": content_type,
        "Accept": accept,
        "X-Amzn-SageMaker-Custom-Attributes": attributes,
    }
    assert_shells_agree(shells, client, "POST", "/invocations", headers, body)
