"""The HTTP server of the local AWS and of `serve`: waitress, which outlives a full temporary disk.

waitress keeps large bodies in temporary files and closes the connection where one cannot be
written. Here the rest of such a body is discarded, and whoever reads it gets the error.
"""

import contextlib
from collections.abc import Callable
from typing import Any, Final, NoReturn

import waitress.buffers
import waitress.channel
import waitress.parser
import waitress.server

_ANSWER_BYTES: Final = 64 * 1024**2
"""Answers stay in memory up to this; waitress lets an application write 16 MiB ahead."""

_PIECE_BYTES: Final = 2**18


def create_server(application: Callable[..., Any], **settings: Any) -> Any:
    """Return a server of waitress for a WSGI application, with waitress's settings.

    Raises: OSError if its address cannot be used.
    """
    sockets: dict[int, Any] = settings.pop("map", {})
    server = waitress.server.create_server(
        application, map=sockets, asyncore_use_poll=True, outbuf_overflow=_ANSWER_BYTES, **settings
    )
    for listener in sockets.values():
        if isinstance(listener, waitress.server.BaseWSGIServer):
            listener.channel_class = _Channel
    return server


class _Body(waitress.buffers.OverflowableBuffer):  # type: ignore[misc]  # waitress has no types
    """A body of which nothing is kept after a failed write."""

    error: OSError | None = None
    buf: Any = None

    def append(self, data: bytes) -> None:
        """Add bytes."""
        if self.error is not None:
            return
        try:
            super().append(data)
        except OSError as error:
            self.error = OSError(error.errno, error.strerror)  # without references to what it met
            with contextlib.suppress(OSError):  # closing writes what is left
                self.close()

    def _set_large_buffer(self) -> None:
        """Move the body to a file that `close` finds also when it cannot be filled."""
        small, self.buf = self.buf, waitress.buffers.TempfileBasedBuffer()
        self.overflowed = True
        while piece := small.get(_PIECE_BYTES, skip=True):
            self.buf.append(piece)

    def getfile(self) -> Any:
        """Return the file that the application reads."""
        return super().getfile() if self.error is None else _Lost(self.error)

    def __len__(self) -> int:
        """Return how many bytes are kept."""
        return super().__len__() if self.error is None else 0


class _Lost:
    """What an application gets as a body that could not be written."""

    def __init__(self, error: OSError) -> None:
        self._error = error

    def _fail(self, *_: Any) -> NoReturn:
        raise self._error

    read = readline = readlines = seek = tell = __iter__ = _fail

    def close(self) -> None:
        """Close nothing."""


class _Parser(waitress.parser.HTTPRequestParser):  # type: ignore[misc]  # the same
    def parse_header(self, header: bytes) -> None:
        """Read the header; the body comes after it."""
        super().parse_header(header)
        if self.body_rcv is not None:
            self.body_rcv.buf = _Body(self.adj.inbuf_overflow)


class _Channel(waitress.channel.HTTPChannel):  # type: ignore[misc]  # the same
    parser_class = _Parser
