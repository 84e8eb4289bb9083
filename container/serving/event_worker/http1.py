"""HTTP/1.1 messages without I/O (RFC 9112): requests out of bytes, and the framing of responses.

Rules of this file: strict wherever leniency lets two parsers read one stream as two different
requests (bare line feeds, two lengths, a length beside chunks, white space before a colon). Every
fault is a RequestError, after which the rest of the stream is unusable.
"""

import re
from collections.abc import Iterable
from http import HTTPStatus
from typing import Final, NamedTuple

from container.errors import RequestError

HEAD_BYTES_MAXIMUM: Final = 32_768  # RQ-2: eleven headers of at most 1 kB reach a container
HEADERS_MAXIMUM: Final = 100

_END_OF_HEAD: Final = b"\r\n\r\n"
_TOKEN: Final = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_HEAD: Final = re.compile(
    rb"(?P<method>%b) (?P<target>[\x21-\x7e]+) HTTP/1\.(?P<minor>[01])\r\n"
    rb"(?P<headers>(?:%b:[\t\x20-\x7e\x80-\xff]*\r\n)*)\r\n" % (_TOKEN, _TOKEN)
)
_ORIGIN: Final = re.compile(r"\Ahttps?://[^/?]*", re.IGNORECASE)
_DIGITS: Final = re.compile(r"[0-9]{1,18}")
_BARE_LINE_FEED: Final = re.compile(rb"(?<!\r)\n")
_EMPTY_LINES: Final = re.compile(rb"(?:\r\n)+")
_CHUNK_SIZE: Final = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[\t\x20-\x7e\x80-\xff]*)?\r\n")
_CHUNK_LINE_BYTES_MAXIMUM: Final = 1024
_TRAILER_LINE: Final = re.compile(
    # RFC 9110, 6.5.1: fields that frame a message or end a connection are not allowed here.
    rb"(?:(?!(?i:connection|content-length|transfer-encoding):)%b:[\t\x20-\x7e\x80-\xff]*)?\r\n"
    % _TOKEN
)
_TRAILER_BYTES_MAXIMUM: Final = 8192
# A chunk costs a microsecond or two, whatever its size: so many are read before others have their
# turn, and framing may take so many bytes more than what it frames.
_CHUNKS_A_TURN: Final = 256
_FRAMING_BYTES_SPARE: Final = 131_072
_ONCE: Final = frozenset({"content-length", "content-type", "host", "transfer-encoding"})
_STATUS_LINES: Final = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}" for status in HTTPStatus
}


class Head(NamedTuple):
    """A request without its body."""

    method: str
    target: str
    """Path and query, as the client wrote them."""
    headers: dict[str, str]
    """Values under lower-case names; those of a repeated header are joined by commas."""
    body_bytes: int
    """Length of the body; -1 if it comes in chunks."""
    keep_alive: bool
    """Whether the client wants the connection to stay open."""
    expects_continue: bool
    """Whether the client waits for `100 Continue` before it sends the body."""
    takes_chunks: bool = True
    """Whether the client speaks HTTP/1.1 and therefore accepts a response in chunks."""


def take_head(buffer: bytearray, searched: int = 0) -> Head | None:
    """Take the head of a request off `buffer` and return it, or None if its end is not there yet.

    The first `searched` bytes have been searched before and do not hold the end.

    Raises: RequestError as `parse_head` does, and 431 if the head is too long.
    """
    if buffer.startswith(b"\r\n"):  # RFC 9112, 2.2: some clients send a line end after a body
        empty = _EMPTY_LINES.match(buffer)
        assert empty is not None  # noqa: S101 - the buffer starts with one
        del buffer[: empty.end()]
    start = max(0, searched + 1 - len(_END_OF_HEAD))
    end = buffer.find(_END_OF_HEAD, start, HEAD_BYTES_MAXIMUM)
    if end < 0:
        if _BARE_LINE_FEED.search(buffer, start):
            message = "the request is not HTTP/1.1: a line of its head ends without CR LF"
            raise RequestError(400, message)
        if len(buffer) >= HEAD_BYTES_MAXIMUM:
            message = f"the head of the request is longer than {HEAD_BYTES_MAXIMUM} bytes"
            raise RequestError(431, message)
        return None
    head = parse_head(buffer)
    del buffer[: end + len(_END_OF_HEAD)]
    return head


def parse_head(data: bytes | bytearray) -> Head:
    """Parse the head that `data` starts with; it must contain the end of the head.

    Raises: RequestError 400, 431 for too many headers, 501 for a transfer encoding other than
    chunked.
    """
    match = _HEAD.match(data)
    if match is None:
        message = "the request is not HTTP/1.1: its request line or a header line is malformed"
        raise RequestError(400, message)
    method, raw_target, minor, block = match.group("method", "target", "minor", "headers")
    lines = block.decode("latin-1").split("\r\n")[:-1]
    if len(lines) > HEADERS_MAXIMUM:
        message = f"the request has {len(lines)} headers; {HEADERS_MAXIMUM} are allowed"
        raise RequestError(431, message)
    headers: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        name = name.lower()
        value = value.strip(" \t")
        if name in headers:
            if name in _ONCE:
                raise RequestError(400, f"the request has the header {name} twice")
            value = f"{headers[name]}, {value}"
        headers[name] = value
    is_1_1 = minor == b"1"
    if is_1_1 and "host" not in headers:
        raise RequestError(400, "the request has no Host header")
    connection = headers.get("connection", "").lower()
    target = raw_target.decode("ascii")
    if target[0] != "/":
        target = _ORIGIN.sub("", target, count=1) or "/"
    return Head(
        method=method.decode("ascii"),
        target=target,
        headers=headers,
        body_bytes=_parse_body_bytes(headers, is_1_1=is_1_1),
        keep_alive=_keeps_alive(connection, is_1_1=is_1_1),
        expects_continue=is_1_1 and headers.get("expect", "").lower() == "100-continue",
        takes_chunks=is_1_1,
    )


def _keeps_alive(connection: str, *, is_1_1: bool) -> bool:
    """Return whether the connection stays open; `connection` is its header in lower case."""
    if not connection:
        return is_1_1
    options = [option.strip(" \t") for option in connection.split(",")]
    return "close" not in options and (is_1_1 or "keep-alive" in options)


def _parse_body_bytes(headers: dict[str, str], *, is_1_1: bool) -> int:
    coding = headers.get("transfer-encoding")
    length = headers.get("content-length")
    if coding is not None:
        if length is not None:
            raise RequestError(400, "the body has both a content length and a transfer encoding")
        if not is_1_1:
            raise RequestError(400, "an HTTP/1.0 request cannot have a transfer encoding")
        if coding.lower() != "chunked":
            raise RequestError(501, "the only transfer encoding supported is chunked")
        return -1
    if length is None:
        return 0
    if not _DIGITS.fullmatch(length):
        raise RequestError(400, "the content length is not a number of bytes")
    return int(length)


class ChunkedBody:
    """A body that comes in chunks; trailers are read and dropped."""

    def __init__(self, bytes_maximum: int) -> None:
        """`bytes_maximum` bounds the body without its framing."""
        self.is_paused = False
        """Whether the last `feed` left chunks that had arrived, because there were many."""
        self._bytes_maximum = bytes_maximum
        self._body = bytearray()
        self._framing_bytes = 0
        # Bytes of the open chunk that are still to come, with the line end after it.
        self._in_chunk = 0
        self._in_trailer = False
        self._trailer_bytes = 0

    def feed(self, data: bytearray) -> bytearray | None:
        """Take what belongs to the body off the front of `data`; return it once it is complete.

        It takes a bounded number of chunks, and `is_paused` if there may be more.

        Raises: RequestError 400 if the framing is broken, or longer than what it frames; 413 if the
        body grows too large.
        """
        self.is_paused = False
        for _ in range(_CHUNKS_A_TURN):
            if self._in_trailer:
                return self._body if self._read_trailer(data) else None
            if self._in_chunk and not self._read_data(data):
                return None
            if not self._read_size(data):
                return None
        self.is_paused = True
        return None

    def _read_data(self, data: bytearray) -> bool:
        if self._in_chunk > 2:
            piece = data[: self._in_chunk - 2]
            self._body += piece
            self._in_chunk -= len(piece)
            del data[: len(piece)]
        if self._in_chunk > 2 or len(data) < 2:
            return False
        if not data.startswith(b"\r\n"):
            raise RequestError(400, "a chunk of the body is longer than its size")
        del data[:2]
        self._in_chunk = 0
        return True

    def _read_size(self, data: bytearray) -> bool:
        end = data.find(b"\n", 0, _CHUNK_LINE_BYTES_MAXIMUM) + 1
        if not end:
            if len(data) >= _CHUNK_LINE_BYTES_MAXIMUM:
                raise RequestError(400, "the size line of a chunk is too long")
            return False
        match = _CHUNK_SIZE.fullmatch(data, 0, end)
        if match is None:
            message = "a chunk of the body has no size in hexadecimal digits, or no CR LF after it"
            raise RequestError(400, message)
        size = int(match[1], 16)
        if len(self._body) + size > self._bytes_maximum:
            raise RequestError(413, "the body is larger than the limit")
        self._framing_bytes += end + 2
        if self._framing_bytes > _FRAMING_BYTES_SPARE + len(self._body):
            message = (
                f"the chunks of the body are too small: {self._framing_bytes} bytes of framing for "
                f"{len(self._body)} bytes of body; send larger chunks"
            )
            raise RequestError(400, message)
        del data[:end]
        self._in_chunk = size + 2 if size else 0
        self._in_trailer = not size
        return True

    def _read_trailer(self, data: bytearray) -> bool:
        """Drop the lines that are there; return whether the empty line at the end was the last."""
        is_over = False
        while not is_over:
            end = data.find(b"\n") + 1
            if self._trailer_bytes + (end or len(data)) > _TRAILER_BYTES_MAXIMUM:
                raise RequestError(400, "the trailer of the body is too long")
            if not end:
                return False
            if _TRAILER_LINE.fullmatch(data, 0, end) is None:
                raise RequestError(400, "a line of the body's trailer is malformed")
            is_over = end == len(b"\r\n")
            self._trailer_bytes += end
            del data[:end]
        return True


def take_body(buffer: bytearray, head: Head, chunks: ChunkedBody | None) -> bytes | None:
    """Take a body off `buffer` and return it, or None if its end is not there yet.

    Raises: RequestError as `ChunkedBody.feed` does.
    """
    if chunks is not None:
        body = chunks.feed(buffer)
        return None if body is None else bytes(body)
    if len(buffer) < head.body_bytes:
        return None
    with memoryview(buffer) as view:
        taken = bytes(view[: head.body_bytes])
    del buffer[: head.body_bytes]
    return taken


def format_head(  # noqa: PLR0913 - each by name
    status: int,
    *,
    date: str,
    content_type: str,
    headers: Iterable[tuple[str, str]],
    framing: str,
    closing: bool,
) -> bytes:
    """Format the head of a response; `framing` is the header line that delimits the body."""
    line = _STATUS_LINES.get(status) or f"HTTP/1.1 {status} "
    text = f"{line}\r\nDate: {date}\r\nContent-Type: {content_type}\r\n"
    for name, value in headers:
        text += f"{name}: {value}\r\n"
    text += framing
    text += "Connection: close\r\n\r\n" if closing else "Connection: keep-alive\r\n\r\n"
    return text.encode("latin-1")


def format_chunk(piece: bytes) -> bytes:
    """Format a chunk of a body; the empty one ends it (RFC 9112, 7.1)."""
    return b"%x\r\n%b\r\n" % (len(piece), piece)
