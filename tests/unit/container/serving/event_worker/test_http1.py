"""HTTP/1.1 without a socket: what is read, and what two parsers could read in two ways."""

import contextlib
import email
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from container.errors import RequestError
from container.serving.event_worker import http1


def parse(text: bytes) -> http1.Head:
    return http1.parse_head(text)


def test_head_is_read_with_lower_case_names_and_joined_repetitions() -> None:
    head = parse(
        b"POST /invocations?a=1 HTTP/1.1\r\nHost: a:8080\r\n"
        b"Content-Length: 12\r\nX-A: 1\r\nx-a:\t2 \r\nEmpty:\r\n\r\nbody"
    )

    assert head == http1.Head(
        method="POST",
        target="/invocations?a=1",
        headers={"host": "a:8080", "content-length": "12", "x-a": "1, 2", "empty": ""},
        body_bytes=12,
        keep_alive=True,
        expects_continue=False,
    )


@pytest.mark.parametrize(
    ("version", "connection", "keep_alive"),
    [
        ("1.1", "", True),
        ("1.1", "Connection: Close\r\n", False),
        ("1.1", "Connection: keep-alive, close\r\n", False),
        ("1.0", "", False),
        ("1.0", "Connection: Keep-Alive\r\n", True),
    ],
)
def test_connection_is_kept_as_its_version_says(
    version: str,
    connection: str,
    keep_alive: bool,
) -> None:
    assert (
        parse(f"GET / HTTP/{version}\r\nHost: a\r\n{connection}\r\n".encode()).keep_alive
        == keep_alive
    )


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("/ping", "/ping"),
        ("http://a:8080/ping?x", "/ping?x"),
        ("HTTP://a", "/"),
        ("*", "*"),
        ("1http://a/ping", "1http://a/ping"),
        ("x?y=https://a/ping", "x?y=https://a/ping"),
    ],
)
def test_target_in_absolute_form_is_read_as_its_path(target: str, expected: str) -> None:
    assert parse(f"GET {target} HTTP/1.1\r\nHost: a\r\n\r\n".encode()).target == expected


@pytest.mark.parametrize(
    ("text", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 400),
        (b"PRI * HTTP/2.0\r\n\r\n", 400),
        (b"GET /\r\nHost: a\r\n\r\n", 400),
        (b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"G\x00T / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET / HTTP/1.1\nHost: a\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: a\x00b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nnocolon\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9999999999999999999\r\n\r\n", 400),
        (
            (
                b"POST / HTTP/1.1\r\nHost: a\r\n"
                b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"
            ),
            400,
        ),
        (b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501),
        (
            (
                b"POST / HTTP/1.1\r\nHost: a\r\n"
                b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"
            ),
            400,
        ),
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: 1\r\n" * 100 + b"\r\n", 431),
    ],
)
def test_ambiguous_or_malformed_head_is_refused(text: bytes, status: int) -> None:
    with pytest.raises(RequestError) as caught:
        parse(text)

    assert caught.value.status == status


@pytest.mark.parametrize(
    ("version", "length", "message"),
    [
        ("1.1", "Content-Length: 1\r\n", "both a content length and a transfer encoding"),
        ("1.0", "", "an HTTP/1.0 request cannot have a transfer encoding"),
    ],
)
def test_refused_framing_is_named(version: str, length: str, message: str) -> None:
    text = f"POST / HTTP/{version}\r\nHost: a\r\n{length}Transfer-Encoding: chunked\r\n\r\n"

    with pytest.raises(RequestError, match=message):
        parse(text.encode())


def test_head_is_taken_off_the_buffer_once_it_is_complete() -> None:
    buffer = bytearray(b"\r\nGET / HTTP/1.1\r\nHost: a\r\n")
    assert http1.take_head(buffer) is None
    buffer += b"\r\nNEXT"

    head = http1.take_head(buffer)

    assert head is not None
    assert head.headers == {"host": "a"}
    assert buffer == b"NEXT"


def test_head_that_is_too_long_is_refused_before_its_end() -> None:
    with pytest.raises(RequestError) as caught:
        http1.take_head(bytearray(b"GET / HTTP/1.1\r\nX: " + b"y" * http1.HEAD_BYTES_MAXIMUM))

    assert caught.value.status == 431


def test_response_head_is_what_a_client_reads() -> None:
    text = http1.format_head(
        404,
        date="Sat, 28 Nov 2026 12:00:00 GMT",
        content_type="text/plain",
        headers=[("Retry-After", "1")],
        framing="Content-Length: 0\r\n",
        closing=True,
    )

    status, _, headers = text.partition(b"\r\n")
    assert status == b"HTTP/1.1 404 Not Found"
    assert dict(email.message_from_bytes(headers)) == {
        "Date": "Sat, 28 Nov 2026 12:00:00 GMT",
        "Content-Type": "text/plain",
        "Retry-After": "1",
        "Content-Length": "0",
        "Connection": "close",
    }


@given(st.binary(max_size=200))
def test_any_bytes_are_a_head_or_a_request_error(junk: bytes) -> None:
    with contextlib.suppress(RequestError):
        parse(b"GET / HTTP/1.1\r\n" + junk + b"\r\n\r\n")


def feed(pieces: list[bytes], limit: int = 1000) -> tuple[bytes | None, bytes]:
    body, buffer, decoded = http1.ChunkedBody(limit), bytearray(), None
    for piece in pieces:
        buffer += piece
        if decoded is None:
            decoded = body.feed(buffer)
        while decoded is None and body.is_paused:
            decoded = body.feed(buffer)
    return decoded if decoded is None else bytes(decoded), bytes(buffer)


@given(st.lists(st.binary(min_size=1, max_size=30), max_size=8), st.data())
def test_chunks_give_the_body_however_they_are_cut(chunks: list[bytes], data: Any) -> None:
    text = (
        b"".join(b"%x;ext=1\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
        + b"0\r\nTrailer: 1\r\n\r\nNEXT"
    )
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=10)))

    pieces = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]

    assert feed(pieces) == (b"".join(chunks), b"NEXT")


@pytest.mark.parametrize(
    ("text", "status"),
    [
        (b"g\r\n", 400),
        (b"-1\r\n", 400),
        (b"0x1\r\n", 400),
        (b"\r\n", 400),
        (b"1 1\r\n", 400),
        (b"1\r\nab\r\n", 400),
        (b"1" * 2000, 400),
        (b"fffffffffffffff\r\n", 413),
        (b"3e9\r\n", 413),
        (b"0\r\n" + b"a: b\r\n" * 3000, 400),
        (b"0\r\n" + b"a" * 9000, 400),
    ],
)
def test_broken_chunks_are_refused(text: bytes, status: int) -> None:
    with pytest.raises(RequestError) as caught:
        feed([text])

    assert caught.value.status == status


@given(st.lists(st.binary(max_size=20), max_size=6))
def test_any_bytes_are_chunks_or_a_request_error(pieces: list[bytes]) -> None:
    with contextlib.suppress(RequestError):
        feed(pieces)


_NEXT = b"GET /ping HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.mark.parametrize(
    "end",
    [
        b"0\r\nX: y\n\n",
        b"0\r\nX: y\n\r\n",
        b"0\r\n\n",
        b"0\r\nX: y\rZ: z\r\n\r\n",
        b"0\r\nX: y\r\n\n",
        b"0\r\nno colon\r\n\r\n",
        b"0\r\n: no name\r\n\r\n",
        b"0\r\nX : space\r\n\r\n",
        b"0\r\nX: y\r\n folded\r\n\r\n",
        b"0\r\nX: \x00\r\n\r\n",
        b"0\r\n\x00\x01 \xff\r\n\r\n",
        b"0\n\r\n",
        b"0;x\n\r\n\r\n",
        b"0;x=y\n\n",
        b"0;x=\r\r\n\r\n",
        b"0;x=\x00\r\n\r\n",
        b"1;x\nz\r\n0\r\n\r\n",
        b"1\nz\r\n0\r\n\r\n",
        b"1\r\nz\n0\r\n\r\n",
    ],
)
@pytest.mark.parametrize("piece_bytes", [1, 1000])
def test_no_line_of_a_chunked_body_ends_without_cr_lf(end: bytes, piece_bytes: int) -> None:
    """Another parser may end the body there, and read what follows as a request of its own."""
    text = b"1\r\nz\r\n" + end + _NEXT

    with pytest.raises(RequestError, match=r"chunk|trailer") as caught:
        feed([text[start : start + piece_bytes] for start in range(0, len(text), piece_bytes)])

    assert caught.value.status == 400


@pytest.mark.parametrize("trailer", [b"", b"X: y\r\n", b"X:\r\nY: \xe9\t \r\n"])
@pytest.mark.parametrize("piece_bytes", [1, 2, 3, 1000])
def test_trailer_is_dropped_and_the_next_request_is_not(trailer: bytes, piece_bytes: int) -> None:
    text = b"1\r\nz\r\n0;a=b\r\n" + trailer + b"\r\n" + _NEXT

    pieces = [text[start : start + piece_bytes] for start in range(0, len(text), piece_bytes)]

    assert feed(pieces) == (b"z", _NEXT)


def test_head_with_a_bare_line_feed_is_refused_before_its_end() -> None:
    for text in (b"GET / HTTP/1.1\n", b"GET / HTTP/1.1\r\nHost: a\n\n", b"\n"):
        with pytest.raises(RequestError, match="ends without CR LF"):
            http1.take_head(bytearray(text))


@pytest.mark.parametrize("size", [1, 2, 4])
def test_chunks_that_are_mostly_framing_are_refused(size: int) -> None:
    chunk = b"%x\r\n%b\r\n" % (size, b"z" * size)

    with pytest.raises(RequestError, match="chunks of the body are too small") as caught:
        feed([chunk * 200] * 1000, 1 << 30)

    assert caught.value.status == 400


def test_extensions_of_chunks_are_framing() -> None:
    chunk = b"10;%b\r\n%b\r\n" % (b"x" * 900, b"z" * 16)

    with pytest.raises(RequestError, match="too small"):
        feed([chunk] * 200, 1 << 20)


def test_lines_sent_as_chunks_of_a_few_bytes_are_a_body() -> None:
    """A client may send each line of a table as a chunk."""
    lines = [b"5.1,3.5,1.4,0.2\n"] * 100_000
    text = b"".join(b"%x\r\n%b\r\n" % (len(line), line) for line in lines) + b"0\r\n\r\n"

    assert feed([text], 1 << 30) == (b"".join(lines), b"")


def test_work_of_one_feed_is_bounded_and_nothing_is_lost() -> None:
    body = http1.ChunkedBody(1 << 30)
    buffer = bytearray(b"1\r\nz\r\n" * 1000 + b"0\r\n\r\n" + _NEXT)

    before = len(buffer)
    assert body.feed(buffer) is None
    assert body.is_paused
    assert before - len(buffer) <= 300 * len(b"1\r\nz\r\n")
    decoded = None
    while decoded is None:
        decoded = body.feed(buffer)

    assert bytes(decoded) == b"z" * 1000
    assert buffer == _NEXT
    assert not body.is_paused


class CountedBytes(bytearray):
    """Counts what is searched of it."""

    searched = 0

    def find(self, what: Any, start: Any = 0, end: Any = None) -> int:
        """Search, and count."""
        self.searched += min(len(self), end) - start
        return super().find(what, start, end)


def test_head_that_comes_byte_by_byte_is_searched_once() -> None:
    text = b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 3000 + b"\r\n\r\n"
    buffer = CountedBytes()
    searched = 0

    for place in range(len(text)):
        buffer += text[place : place + 1]
        head = http1.take_head(buffer, searched)
        searched = len(buffer)

    assert head is not None
    assert not buffer
    assert buffer.searched <= 5 * len(text)


def test_lines_before_a_request_are_dropped_at_once() -> None:
    buffer = bytearray(b"\r\n" * 30_000 + _NEXT)

    head = http1.take_head(buffer)

    assert head is not None
    assert head.target == "/ping"
    assert not buffer
