"""Streams of HTTP requests, as clients and attackers send them, and how three parsers read them.

h11 and llhttp (httptools) are the peers. Ours may refuse what a peer takes, and take what a peer
refuses, only for the reasons listed in STRICTER and LOOSER. What both read must be the same
requests with the same bodies: nothing of one request may become a part of another.

    python -m tests.unit.container.serving.event_worker.http_streams --streams 100000

tests/unit/container/serving/event_worker/test_http_streams.py reads a few thousand.
"""

from __future__ import annotations

import argparse
import random
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

import h11
import httptools

from container.errors import RequestError
from container.serving.event_worker import http1

_METHODS: Final = (b"GET", b"POST", b"PUT", b"HEAD", b"DELETE", b"OPTIONS", b"PATCH", b"BREW")
_TARGETS: Final = (b"/ping", b"/invocations?a=b", b"/", b"*", b"http://h:1/p", b'/"<>{}|', b"x")
_HEADERS: Final = (
    b"Content-Type: text/csv",
    b"Accept: */*",
    b"X: \xe9\t y",
    b"Empty:",
    b"Connection: keep-alive",
    b"Connection: close",
    b"Connection: closed",
    b"Connection: x, Close",
    b"Expect: 100-continue",
    b"Content-Length: 3",
    b"Content-Length: 3, 3",
    b"Content-Length: +3",
    b"Content-Length: 0x3",
    b"Content-Length: 3 ",
    b"Content-Length: 03",
    b"Content-Length:",
    b"Content-Length: 99999999999999999999",
    b"Transfer-Encoding: chunked",
    b"Transfer-Encoding: Chunked",
    b"Transfer-Encoding: chunked, chunked",
    b"Transfer-Encoding: gzip, chunked",
    b"Transfer-Encoding: chunked, identity",
    b"Transfer-Encoding: \x0bchunked",
    b"Transfer-Encoding : chunked",
    b"Transfer_Encoding: chunked",
    b"Host: other",
    b" folded",
)
_EXTENSIONS: Final = (b"", b"", b"", b";a", b";a=b", b';a="b"', b" ;a", b";\xe9", b"; a=b ;c", b" ")
_TRAILERS: Final = (
    b"X: y",
    b"Content-Length: 5",
    b"Connection: close",
    b"Y:",
    b"no colon",
    b" folded",
    b"Z : 1",
)
_BYTES: Final = b"\r\n\t \0:;,0123af\x0b\x7f\x80\xff/X"
_LINE_ENDS: Final = (b"\n", b"\r", b"\r\r\n", b"\n\r", b"\r\n\r\n", b"")

# Why ours refuses what a peer takes: a part of our message, and what the refused bytes then have.
STRICTER: Final = (
    # A line without CR LF, or a control character: two parsers may see different lines.
    ("malformed|no size in hexadecimal|ends without CR LF", rb"(?<!\r)\n|\r(?!\n)"),
    ("malformed|no size in hexadecimal", rb"[\0-\x08\x0b\x0c\x0e-\x1f\x7f]"),
    # RFC 9112, 5.2: obsolete line folding may be refused.
    ("malformed", rb"\n[ \t]"),
    # RFC 9112, 5.1: no space before the colon.
    ("malformed", rb"\n[^:\r\n]*[ \t]:"),
    # RFC 9112, 3: one space between the three parts, and a target of printable ASCII.
    ("malformed", rb"^(?!\S+ [\x21-\x7e]+ HTTP/1\.[01]\r\n)"),
    # A name that is not a token, which llhttp takes in a few places.
    ("malformed", rb"\n(?![!#$%&'*+\-.^_`|~0-9A-Za-z]+:|\r\n)"),
    # RFC 9112, 6.3: several or odd lengths, or a length beside chunks, are refused.
    ("twice", rb"(?i)content-length|transfer-encoding|host|content-type"),
    ("content length is not a number|both a content length", rb"(?i)content-length"),
    # RFC 9112, 6.1: another coding than chunked alone, or any in HTTP/1.0.
    ("transfer encoding", rb"(?i)transfer-encoding"),
    # RFC 9112, 3.2: a request in HTTP/1.1 has a Host; llhttp does not look.
    ("no Host header", rb""),
    # Extensions of chunks: only printable characters; sizes of at most 15 digits.
    ("no size in hexadecimal", rb""),
    ("longer than its size", rb""),
    # RFC 9110, 6.5.1: what frames a message or ends a connection is no trailer; peers differ.
    ("trailer is malformed", rb"(?i)\n(connection|content-length|transfer-encoding):"),
    ("trailer is malformed", rb"(?<!\r)\n|\n[ \t]|\n[^:\r\n]*[ \t]:|\n[^:\r\n]+\r\n"),
    # Limits of ours.
    ("larger than the limit|too long|too small|headers;", rb""),
)  # fmt: skip
# Why a peer refuses what ours takes: its message.
LOOSER: Final = {
    "h11": (
        "no request line received",  # an empty line before the request (RFC 9112, 2.2: be lenient)
        "illegal request line",
        # RFC 9112, 7.1.1: white space before the extension, which recipients must read over.
        r"illegal chunk header: bytearray\(b'[0-9a-fA-F]+(?: |\\t)+(?:;|\\r)",
    ),
    "llhttp": (
        "Unexpected char in url schema",  # we answer 404
        "Request has invalid `Transfer-Encoding`",  # white space behind the value
        "Invalid method encountered",  # it knows a list of methods
        "Expected space after method",
        "Unexpected start char in url",
        "Invalid characters in url",
        "Invalid char in url",
        "Expected HTTP/",
        "Invalid character in chunk extensions",  # it parses what every recipient ignores
        "Invalid character in chunk size",  # a space before the extension or the line end
        "Pause on CONNECT/Upgrade",
    ),
}  # fmt: skip


class Message(NamedTuple):
    """A request as a parser read it."""

    method: bytes
    target: bytes
    body: bytes
    keep_alive: bool
    is_1_0: bool = False


class Reading(NamedTuple):
    """What a parser made of a stream."""

    messages: list[Message]
    fault: str = ""
    """Why it refused the rest; empty if it did not."""
    status: int = 0
    rest: bytes = b""
    """What ours refused, from its first byte on."""


def make_chance(seed: int | str) -> random.Random:
    """Make what decides a stream."""
    return random.Random(seed)  # noqa: S311 - a test's, which must repeat


def make_stream(chance: random.Random) -> bytes:
    """Make one to four requests, often damaged."""
    stream = b"".join(_make_request(chance) for _ in range(chance.randint(1, 4)))
    while chance.random() < 0.3:
        stream = _damage(chance, stream)
    return stream[: chance.randint(0, len(stream))] if chance.random() < 0.1 else stream


def _make_request(chance: random.Random) -> bytes:
    version = b"HTTP/1.1" if chance.random() < 0.9 else chance.choice((b"HTTP/1.0", b"HTTP/1.2"))
    method = chance.choice(_METHODS[:2] if chance.random() < 0.7 else _METHODS)
    target = chance.choice(_TARGETS[:3] if chance.random() < 0.8 else _TARGETS)
    lines = [b"%b %b %b" % (method, target, version)]
    if chance.random() < 0.95:
        lines.append(b"Host: h")
    body = b""
    kind = chance.choice(("none", "length", "chunks", "chunks"))
    if kind == "length":
        body = chance.choice((b"", b"abc", b"GET / HTTP/1.1\r\n\r\n", bytes(range(256))))
        lines.append(b"Content-Length: %d" % len(body))
    elif kind == "chunks":
        body = _make_chunks(chance)
        lines.append(b"Transfer-Encoding: chunked")
    while chance.random() < 0.3:
        lines.insert(chance.randint(1, len(lines)), chance.choice(_HEADERS))
    empty = b"\r\n" if chance.random() < 0.05 else b""
    return empty + b"\r\n".join(lines) + b"\r\n\r\n" + body


def _make_chunks(chance: random.Random) -> bytes:
    text = b""
    for _ in range(chance.randint(0, 4)):
        piece = chance.choice((b"x", b"0\r\n\r\n", b"GET / HTTP/1.1\r\nHost: h\r\n\r\n", b"y" * 20))
        zeros = b"0" * chance.choice((0, 0, 0, 1, 20))
        size = zeros + (b"%x" if chance.random() < 0.5 else b"%X") % len(piece)
        text += size + chance.choice(_EXTENSIONS) + b"\r\n" + piece + b"\r\n"
    text += b"0" + chance.choice(_EXTENSIONS) + b"\r\n"
    while chance.random() < 0.3:
        text += chance.choice(_TRAILERS[:4] if chance.random() < 0.7 else _TRAILERS) + b"\r\n"
    return text + b"\r\n"


def _damage(chance: random.Random, stream: bytes) -> bytes:
    """Change a byte, a line end or a line."""
    place = chance.randint(0, max(0, len(stream) - 1))
    kind = chance.choice(("byte", "insert", "delete", "line end", "line end", "line", "line feed"))
    if kind == "line feed":
        return stream.replace(b"\r\n", b"\n")
    if kind in ("byte", "insert", "delete"):
        put = b"" if kind == "delete" else bytes([chance.choice(_BYTES)])
        return stream[:place] + put + stream[place + (kind != "insert") :]
    ends = [found.start() for found in re.finditer(b"\r\n", stream)]
    if not ends:
        return stream
    place = chance.choice(ends)
    if kind == "line":
        return stream[:place] + b"\r\n" + chance.choice(_HEADERS) + stream[place:]
    return stream[:place] + chance.choice(_LINE_ENDS) + stream[place + 2 :]


def cut(chance: random.Random, stream: bytes) -> list[bytes]:
    """Cut a stream into pieces, often of one byte."""
    pieces = []
    start = 0
    longest = chance.choice((1, 2, 3, 10, 100))
    while start < len(stream):
        end = start + chance.randint(1, longest)
        pieces.append(stream[start:end])
        start = end
    return pieces


class Ours:
    """Reads as `Responder.advance` does."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self._buffer = bytearray()
        self._searched = 0
        self._head: http1.Head | None = None
        self._chunks: http1.ChunkedBody | None = None
        self._is_over = False

    def read(self, pieces: list[bytes]) -> Reading:
        """Read a stream that comes in these pieces."""
        seen = b""
        for piece in pieces:
            self._buffer += piece
            seen += piece
            left = len(self._buffer)
            try:
                while not self._is_over and self._buffer and self._step():
                    left = len(self._buffer)
            except RequestError as error:
                rest = seen[len(seen) - left :] if self._head is None else seen
                return Reading(self.messages, str(error), error.status, rest)
        return Reading(self.messages)

    def _step(self) -> bool:
        """Read one head or body; return False if more bytes are needed."""
        if self._head is None:
            self._head = http1.take_head(self._buffer, self._searched)
            self._searched = 0 if self._head else len(self._buffer)
            if self._head is None:
                return False
            if self._head.body_bytes > 1 << 20:
                raise RequestError(413, "the body is larger than the limit")
            self._chunks = http1.ChunkedBody(1 << 20) if self._head.body_bytes < 0 else None
        head = self._head
        body = http1.take_body(self._buffer, head, self._chunks)
        if body is None:
            return self._chunks is not None and self._chunks.is_paused
        self._head = None
        words = (head.method.encode(), head.target.encode())
        self.messages.append(Message(*words, body, head.keep_alive, not head.takes_chunks))
        self._is_over = not head.keep_alive
        return True


def read_h11(stream: bytes) -> Reading:
    """Read a stream with h11."""
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    messages: list[Message] = []
    connection.receive_data(stream)
    request: Any = None
    body = b""
    try:
        while True:
            event = connection.next_event()
            if isinstance(event, h11.Request):
                request = event
                body = b""
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                if connection.our_state is h11.SEND_RESPONSE:
                    answer: Any = h11.Response(status_code=200, headers=[("content-length", "0")])
                    connection.send(answer)
                    connection.send(h11.EndOfMessage())
                keeps = connection.our_state is h11.DONE
                messages.append(Message(request.method, request.target, body, keeps))
                if not keeps:
                    return Reading(messages)
                connection.start_next_cycle()
            else:
                return Reading(messages)
    except h11.RemoteProtocolError as error:
        return Reading(messages, str(error) or "error")


class _LlhttpEvents:
    """Collects the messages of one stream."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.parser: Any = httptools.HttpRequestParser(self)
        self.is_over = False
        self._target = b""
        self._body = b""

    def on_message_begin(self) -> None:
        self._target = b""
        self._body = b""

    def on_url(self, url: bytes) -> None:
        self._target += url

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        if self.is_over:
            return
        keeps = self.parser.should_keep_alive()
        method = self.parser.get_method()
        self.messages.append(Message(method, self._target, self._body, keeps))
        self.is_over = not keeps


def read_llhttp(stream: bytes) -> Reading:
    """Read a stream with llhttp."""
    events = _LlhttpEvents()
    fault = ""
    try:
        events.parser.feed_data(stream)
    except httptools.HttpParserUpgrade:
        fault = "Pause on CONNECT/Upgrade"
    except httptools.HttpParserError as error:
        fault = str(error) or "error"
    return Reading(events.messages, "" if events.is_over else fault)


PEERS: Final[dict[str, Callable[[bytes], Reading]]] = {"h11": read_h11, "llhttp": read_llhttp}


def find_differences(stream: bytes, pieces: list[bytes]) -> Iterator[str]:
    """Yield how ours differs from itself in pieces, and from each peer beyond the two lists."""
    ours = Ours().read([stream])
    again = Ours().read(pieces)
    if (ours.messages, ours.status) != (again.messages, again.status):
        yield f"in pieces: {ours} became {again}"
    for name, read in PEERS.items():
        difference = _compare(ours, read(stream), LOOSER[name])
        if difference:
            yield f"{name}: {difference}"


def _compare(ours: Reading, peers: Reading, looser: tuple[str, ...]) -> str:
    for mine, its in zip(ours.messages, peers.messages, strict=False):
        target = its.target
        if mine.target != target and target.lower().startswith((b"http://", b"https://")):
            target = target[target.find(b"//") + 2 :].partition(b"/")[2]
            target = b"/" + target
        if mine[:3] != (its.method, target, its.body):
            return f"{mine} is {its}"
        if mine.keep_alive != its.keep_alive:
            # h11 keeps no connection of HTTP/1.0; llhttp keeps one that says close and keep-alive.
            return "" if mine.is_1_0 else f"{mine} is {its}"
    more = len(ours.messages) - len(peers.messages)
    if more > 0 or (more == 0 and peers.fault and not ours.fault):
        is_waiting = more == 0 and not ours.fault
        if not is_waiting and not any(re.search(reason, peers.fault) for reason in looser):
            return f"ours reads {more} more: {peers.fault or 'no fault'}"
    if (more < 0 or not peers.fault) and ours.fault and not _is_stricter(ours):
        return f"ours refuses: {ours.fault}"
    if more < 0 and not ours.fault:
        last = ours.messages[-1].keep_alive if ours.messages else True
        if last:
            return f"ours reads {-more} fewer"
    return ""


def _is_stricter(ours: Reading) -> bool:
    return any(
        re.search(message, ours.fault) and re.search(shown, ours.rest)
        for message, shown in STRICTER
    )


def main() -> int:
    """Read many streams; print each difference, and how often ours read what."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--streams", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    counts: Counter[str] = Counter()
    for number in range(options.streams):
        chance = make_chance(f"{options.seed} {number}")
        stream = make_stream(chance)
        reading = Ours().read([stream])
        counts[reading.fault or "taken"] += 1
        counts["requests"] += len(reading.messages)
        for difference in find_differences(stream, cut(chance, stream)):
            counts["differences"] += 1
            print(f"stream {number}: {stream!r}\n    {difference}")
    print(f"{options.streams} streams: {dict(counts.most_common())}")
    return min(counts["differences"], 1)


if __name__ == "__main__":
    sys.exit(main())
