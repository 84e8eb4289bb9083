"""Runs a user's program as a child process: its signals, its output, its end.

A stop is passed on to the program's whole process group, which then has its time; output is passed
on at once, in whole lines, byte for byte; every dead process is reaped, also when this process is
PID 1 (IMG-5).

Rules of this file: one thread, the main one; signal handlers do what must not wait for a slow
reader of our output; standard library only; knows nothing of what it runs.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, Final, Self

from container import contract, machine

TAIL_BYTES: Final = 16 * 1024
STOP_GRACE_S: Final = (
    contract.TRAINING_STOP_GRACE_S - 5.0
)  # leaves time to say what happened before our own SIGKILL
_PIPE_BYTES: Final = (
    1024 * 1024
)  # the most that Linux gives an unprivileged process; a slow log reader blocks later
_LINE_WAIT_S: Final = (
    0.1  # how long the start of a line waits for its end: prompts and progress bars have none
)
_LINE_BYTES: Final = 4 * 1024 * 1024
_DRAIN_S: Final = 5.0
_FORWARDED: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_PR_SET_CHILD_SUBREAPER: Final = 36  # linux/prctl.h


@dataclass(frozen=True)
class Outcome:
    """How a program ended."""

    exit_code: int
    """As a shell would say it: 128 + n if signal n ended the program."""
    stopped: bool = False
    """A stop was asked for before the program ended."""
    overstayed: bool = False
    """The program was still there when the stop's grace was over, and was killed."""
    out_of_memory: bool = False
    """The kernel killed a process of this container for want of memory meanwhile."""
    output_tail: bytes = b""
    """The last 16 KiB of standard output."""
    error_tail: bytes = b""
    """The last 16 KiB of standard error."""


class Supervisor:
    """Owns the process's signal handlers while programs run one after the other; a context manager.

    Raises: ValueError when entered outside the main thread.
    """

    def __init__(self, stop_grace_s: float = STOP_GRACE_S) -> None:
        """`stop_grace_s` is the time between the stop signal and SIGKILL."""
        self.stop_signal: int | None = None
        self._stop_grace_s = stop_grace_s
        self._overstayed = False
        self._group: int | None = None
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Self:
        """Take over the signals."""
        self._wakeup, self._wakeup_sender = socket.socketpair()
        self._wakeup.settimeout(0)
        self._wakeup_sender.settimeout(0)
        self._previous_wakeup = signal.set_wakeup_fd(
            self._wakeup_sender.fileno(), warn_on_full_buffer=False
        )
        for number in _FORWARDED:
            self._previous[number] = signal.signal(number, self._stop)
        self._previous[signal.SIGALRM] = signal.signal(signal.SIGALRM, self._kill)
        self._previous[signal.SIGCHLD] = signal.signal(
            signal.SIGCHLD, lambda *_: None
        )  # wakes the selector
        _adopt_orphans(wanted=True)
        return self

    def __exit__(self, *_: object) -> None:
        """Give the signals back."""
        signal.setitimer(signal.ITIMER_REAL, 0)
        _adopt_orphans(wanted=False)
        for number, handler in self._previous.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        signal.set_wakeup_fd(self._previous_wakeup)
        self._wakeup.close()
        self._wakeup_sender.close()

    def run(self, command: Sequence[str], cwd: Path, environ: Mapping[str, str]) -> Outcome:
        """Run `command` to its end; give its outcome at once, without a start, if a stop was asked for before.

        Raises: OSError if the command cannot be started.
        """
        if self.stop_signal is not None:
            return Outcome(128 + self.stop_signal, stopped=True)
        kills_before = machine.count_memory_kills()
        process = subprocess.Popen(  # noqa: S603 - to run the user's program is what this is for
            list(command),
            cwd=cwd,
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,  # a group of its own, to signal as a whole (OUT-9)
        )
        self._group = process.pid
        if self.stop_signal is not None:  # it came while the program was being started
            self._signal_group(self.stop_signal)
        assert process.stdout is not None  # noqa: S101 - for the type checker
        assert process.stderr is not None  # noqa: S101
        streams = [
            _Stream(process.stdout.fileno(), sink=1),
            _Stream(process.stderr.fileno(), sink=2),
        ]
        sys.stdout.flush()
        sys.stderr.flush()
        with process.stdout, process.stderr:
            self._pump(streams, process)
        signal.setitimer(signal.ITIMER_REAL, 0)
        self._group = None
        code = process.returncode
        return Outcome(
            exit_code=code if code >= 0 else 128 - code,
            stopped=self.stop_signal is not None,
            overstayed=self._overstayed,
            out_of_memory=machine.count_memory_kills() > kills_before,
            output_tail=bytes(streams[0].tail),
            error_tail=bytes(streams[1].tail),
        )

    def _pump(self, streams: list[_Stream], process: subprocess.Popen[bytes]) -> None:
        """Pass output on until the program, its group and its output have ended."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._wakeup, selectors.EVENT_READ)
            for stream in streams:
                selector.register(stream.source, selectors.EVENT_READ, stream)
            while process.returncode is None or (
                self.stop_signal is not None and self._group_lives()
            ):
                # After a stop a shell may be dead while what it started still saves its work: the
                # group counts.
                waiting = process.returncode is not None or any(stream.held for stream in streams)
                _forward(selector, _LINE_WAIT_S if waiting else None)
                self._drain_wakeup()
                self._reap(process)
            self._signal_group(
                signal.SIGKILL
            )  # what the program left behind: the end of PID 1 would kill it too
            drain_until = time.monotonic() + _DRAIN_S
            while time.monotonic() < drain_until and _forward(selector, _LINE_WAIT_S):
                self._drain_wakeup()
            while (
                self._group_lives() and time.monotonic() < drain_until
            ):  # the killed are dead soon, then reaped
                self._reap(process)
                time.sleep(0.001)
        for stream in streams:
            stream.flush()

    def _drain_wakeup(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._wakeup.recv(4096)

    def _reap(self, process: subprocess.Popen[bytes]) -> None:
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return
                if pid == process.pid:
                    process.returncode = os.waitstatus_to_exitcode(status)

    def _group_lives(self) -> bool:
        assert self._group is not None  # noqa: S101 - for the type checker
        try:
            os.killpg(self._group, 0)
        except (ProcessLookupError, PermissionError):
            return False
        return True

    def _signal_group(self, number: int) -> None:
        if self._group is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._group, number)

    def _stop(self, number: int, _frame: FrameType | None) -> None:
        if self.stop_signal is None:
            self.stop_signal = number
            signal.setitimer(signal.ITIMER_REAL, self._stop_grace_s)
        self._signal_group(number)

    def _kill(self, _number: int, _frame: FrameType | None) -> None:
        self._overstayed = True
        self._signal_group(signal.SIGKILL)


@dataclass
class _Stream:
    """One stream of the program: reads its pipe, writes whole lines to our own stream, keeps the end of it."""

    source: int
    sink: int
    held: bytearray = field(default_factory=bytearray)
    held_since_s: float = 0.0
    tail: bytearray = field(default_factory=bytearray)

    def __post_init__(self) -> None:
        os.set_blocking(self.source, False)
        with contextlib.suppress(OSError, AttributeError):
            fcntl.fcntl(self.source, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)

    def forward(self) -> bool:
        """Read once and write what is whole; False at the end of the stream."""
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
        """Write the start of a line that has waited for its end long enough."""
        if len(self.held) > _LINE_BYTES or (
            self.held and time.monotonic() - self.held_since_s >= _LINE_WAIT_S
        ):
            self.flush()

    def flush(self) -> None:
        """Write all that is held."""
        self._write(self.held)
        self.held = bytearray()

    def _write(self, data: bytes | bytearray) -> None:
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(self.sink, view) :]
            except BlockingIOError:  # our own stream may have been handed to us non-blocking
                with selectors.DefaultSelector() as selector:
                    selector.register(self.sink, selectors.EVENT_WRITE)
                    selector.select()
            except OSError:  # nobody reads our log any more; the program's work goes on
                return


def _forward(selector: selectors.BaseSelector, timeout_s: float | None) -> bool:
    """Wait for output and pass it on; False when none came, or none can come any more."""
    ready = [key.data for key, _ in selector.select(timeout_s) if key.data is not None]
    for stream in ready:
        if not stream.forward():
            selector.unregister(stream.source)
    streams = [key.data for key in selector.get_map().values() if key.data is not None]
    for stream in streams:
        stream.flush_if_waiting()
    return bool(ready and streams)


def _adopt_orphans(*, wanted: bool) -> None:
    """Let orphans of the program become our children, so that they are reaped whoever PID 1 is; Linux only."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, int(wanted), 0, 0, 0)
