"""Passes a program's output on, at once and in complete lines, byte for byte.

Rules of this file: standard library only.
"""

import contextlib
import fcntl
import os
import selectors
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

TAIL_BYTES: Final = 64 * 1024  # a launcher's ranks may all have failed with a traceback
# How long an unfinished line is held: prompts and progress bars never end.
LINE_WAIT_S: Final = 0.1
# Linux's limit without privileges; delays blocking by a slow log reader.
_PIPE_BYTES: Final = 1024**2
_LINE_BYTES: Final = 4 * 1024 * 1024


@dataclass
class Stream:
    """One output stream: reads its pipe, writes complete lines to our own, keeps the end of it."""

    source: int
    sink: int
    held: bytearray = field(default_factory=bytearray)
    held_since_s: float = 0.0
    tail: bytearray = field(default_factory=bytearray)
    listener: Callable[[int, bytes], object] = lambda _sink, _data: None
    """Called with `sink` and what is about to be written to it."""

    def __post_init__(self) -> None:
        """Prepare the pipe."""
        os.set_blocking(self.source, False)
        with contextlib.suppress(OSError, AttributeError):
            fcntl.fcntl(self.source, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)

    def forward(self) -> bool:
        """Read once and write the complete lines; return False at the end of the stream."""
        try:
            chunk = os.read(self.source, _PIPE_BYTES)
        except BlockingIOError:
            return True
        if not chunk:
            return False
        self.tail += chunk[-TAIL_BYTES:]
        del self.tail[:-TAIL_BYTES]
        end = chunk.rfind(b"\n") + 1
        if end:
            self._write(self.held + chunk[:end])
            self.held = bytearray()
        if not self.held:
            self.held_since_s = time.monotonic()
        self.held += chunk[end:]
        return True

    def flush_if_waiting(self) -> None:
        """Write an unfinished line that is too long or was held long enough."""
        waited_s = time.monotonic() - self.held_since_s
        if self.held and (waited_s >= LINE_WAIT_S or len(self.held) > _LINE_BYTES):
            self.flush()

    def flush(self) -> None:
        """Write all that is held."""
        self._write(self.held)
        self.held = bytearray()

    def _write(self, data: bytes | bytearray) -> None:
        self.listener(self.sink, bytes(data))
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(self.sink, view) :]
            except BlockingIOError:  # our own stream may be non-blocking
                with selectors.DefaultSelector() as selector:
                    selector.register(self.sink, selectors.EVENT_WRITE)
                    selector.select()
            except OSError:  # nobody reads our log any more; the program goes on
                return


def forward(selector: selectors.BaseSelector, timeout_s: float | None) -> bool:
    """Wait for output and pass it on; return False if none came, or none can come any more."""
    ready = [key.data for key, _ in selector.select(timeout_s) if key.data is not None]
    for stream in ready:
        if not stream.forward():
            selector.unregister(stream.source)
    streams = [key.data for key in selector.get_map().values() if key.data is not None]
    for stream in streams:
        stream.flush_if_waiting()
    return bool(ready and streams)
