"""Writes the lines of a log to a descriptor without ever waiting for who reads it.

A log driver may stall, and a pipe holds 64 kB. Lines then wait in memory; beyond a bound they are
dropped and counted, and the next line that is written says how many.

Rules of this file: nothing here blocks, and nothing here raises.
"""

import contextlib
import functools
import logging
import os
import select
import socket
import stat
import time
from collections.abc import Callable
from typing import Final, TypeAlias

_WAITING_BYTES_MAXIMUM: Final = 1 << 20
_LAST_S: Final = 1.0  # for lines that still wait when the process ends

Writer: TypeAlias = Callable[[bytes | bytearray], int]
"""Writes as many bytes as it can without waiting, and returns how many."""


class LineHandler(logging.Handler):
    """Writes records to a descriptor that other processes may share."""

    def __init__(self, descriptor: int, on_drop: Callable[[], None] = lambda: None) -> None:
        """`on_drop` is called for each line that is dropped."""
        super().__init__()
        self._descriptor = descriptor
        self._on_drop = on_drop
        self._write, self._close = _open_writer(descriptor)
        self._waiting = bytearray()
        self._dropped = 0
        self._process = os.getpid()

    def emit(self, record: logging.LogRecord) -> None:
        """Write the line, or keep it, or drop it."""
        try:
            line = self.format(record)
        except Exception:  # noqa: BLE001 - a record that cannot be formatted
            self.handleError(record)
            return
        self.flush()
        if self._dropped and not self._is_full():
            message = "%d lines of this log were dropped, because nobody read it"
            place = (record.name, logging.WARNING, record.pathname, record.lineno)
            notice = logging.LogRecord(*place, message, (self._dropped,), None)
            self._dropped = 0
            self._put(self.format(notice))
        self._put(line)

    def flush(self) -> None:
        """Write what waits, as far as it is taken now."""
        if self._process != os.getpid():  # what waited when this process was forked is its parent's
            self._process = os.getpid()
            self._waiting.clear()
            self._dropped = 0
        if self._waiting:
            del self._waiting[: self._try(self._waiting)]

    def close(self) -> None:
        """Give what waits a last chance."""
        with contextlib.suppress(OSError, ValueError):
            end = time.monotonic() + _LAST_S
            poll = select.poll()
            poll.register(self._descriptor, select.POLLOUT)
            self.flush()
            while self._waiting and time.monotonic() < end:
                poll.poll(100)
                self.flush()
        self._write = _refuse
        self._close()
        self._close = _do_nothing
        super().close()

    def _is_full(self) -> bool:
        return len(self._waiting) > _WAITING_BYTES_MAXIMUM

    def _put(self, line: str) -> None:
        if self._is_full():
            self._dropped += 1
            self._on_drop()
            return
        data = line.encode("utf-8", "backslashreplace") + b"\n"
        if not self._waiting:
            data = data[self._try(data) :]
        self._waiting += data

    def _try(self, data: bytes | bytearray) -> int:
        """Return how many bytes were taken."""
        try:
            return self._write(data)
        except OSError:  # nobody reads, or nobody will
            return 0


def _refuse(_: bytes | bytearray) -> int:
    return 0


def _do_nothing() -> None:
    pass


def _open_writer(descriptor: int) -> tuple[Writer, Callable[[], None]]:
    """Return what writes to a descriptor without waiting, and what closes that.

    The descriptor itself stays as it is: user code that prints would fail where it now waits.
    """
    try:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISSOCK(mode):
            peer = socket.socket(fileno=os.dup(descriptor))
            return lambda data: peer.send(data, socket.MSG_DONTWAIT), peer.close
        if stat.S_ISREG(mode):
            return functools.partial(os.write, descriptor), _do_nothing
        # Open the pipe or terminal again, because flags belong to each opening.
        flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        opened = os.open(f"/proc/self/fd/{descriptor}", flags)
    except OSError:  # not ours to open, or no /proc
        return functools.partial(_write_if_ready, descriptor), _do_nothing
    return functools.partial(os.write, opened), functools.partial(os.close, opened)


def _write_if_ready(descriptor: int, data: bytes | bytearray) -> int:
    """Write as much as a pipe takes that is ready: it has room for that."""
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    if not poll.poll(0):
        return 0
    return os.write(descriptor, data[: select.PIPE_BUF])
