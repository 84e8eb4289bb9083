"""Keeps what a program listens on from other machines; see `view/listen_filter.py`."""

import contextlib
import fcntl
import os
import select
import socket
import struct
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

from local_test.runners.view import kernel

_RECEIVE, _SEND = 0xC0502100, 0xC0182101  # ioctls of a filter's descriptor
_REPORT: Final = struct.Struct("=QIIiIQ6Q")
"""seccomp_notif: ID, process, flags; then call, ABI, instruction and arguments."""
_ANSWER: Final = struct.Struct("=QqiI")
_CONTINUE: Final = 1
_PIDFD_GETFD: Final = 438
EXPOSED: Final = (
    b"[local_test] other machines may reach the ports of this program: this system has no filter "
    b"to prevent it (Linux 5.9 or newer on x86-64 or arm64 has)\n"
)


class Guard:
    """Binds every socket on which a program listens to the loopback device, until it ends."""

    def __init__(self) -> None:
        self._own, self._other = socket.socketpair()
        self._is_started = False

    @property
    def file(self) -> int:
        """The descriptor that the program's filter takes."""
        return self._other.fileno()

    def start(self, on_output: Callable[[bytes], None]) -> None:
        """Wait for the filter, now that the program has started; report if there is none."""
        self._other.close()
        self._is_started = True
        threading.Thread(target=self._run, args=(on_output,), daemon=True, name="guard").start()

    def close(self) -> None:
        """Close what was not handed over."""
        self._other.close()
        with contextlib.suppress(OSError):
            self._own.shutdown(socket.SHUT_RDWR)  # a thread may wait for it
        if not self._is_started:
            self._own.close()

    def _run(self, on_output: Callable[[bytes], None]) -> None:
        with self._own:
            message, files, _, _ = socket.recv_fds(self._own, 1, 1)
        if message == b"-":
            on_output(EXPOSED)
        for file in files:
            with os.fdopen(file, "rb", 0):
                _answer(file)


def _answer(file: int) -> None:
    """Answer the kernel until the last process with the filter has ended."""
    poll = select.poll()
    poll.register(file, select.POLLIN)
    while True:
        [(_, events)] = poll.poll()
        if not events & select.POLLIN:
            return
        report = bytearray(_REPORT.size)
        with contextlib.suppress(OSError):  # the process may end at any time
            fcntl.ioctl(file, _RECEIVE, report)
            number, pid, _, _, _, _, descriptor, *_ = _REPORT.unpack(report)
            with contextlib.suppress(OSError):
                bind_to_loopback(pid, descriptor)
            fcntl.ioctl(file, _SEND, _ANSWER.pack(number, 0, 0, _CONTINUE))


def bind_to_loopback(pid: int, descriptor: int) -> None:
    """Bind another process's socket to the loopback device, if it is one of IP.

    Raises: OSError if the process or socket does not exist.
    """
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace").splitlines()
    [group] = [line.split()[1] for line in lines if line.startswith("Tgid:")]  # of a thread
    process = os.pidfd_open(int(group))
    try:
        held = kernel.libc.syscall(_PIDFD_GETFD, process, descriptor, 0)
    finally:
        os.close(process)
    if held < 0:
        return
    with socket.socket(fileno=held) as found:
        if found.family in (socket.AF_INET, socket.AF_INET6):
            found.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"lo\0")
