"""Runs a user's program as a child process: its signals, its output, its end.

A stop signal is passed on to the program's process group, which then has a grace period. Output is
passed on at once, in complete lines, byte for byte. Every dead process is reaped, also when this
process is PID 1 (IMG-5).

Rules of this file: only the main thread; signal handlers do what must not wait for a slow reader of
our output; standard library only.
"""

import contextlib
import ctypes
import os
import select
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Final, Self

from container import contract, machine
from container.user_packages import processes
from container.user_packages.output_streams import LINE_WAIT_S, Stream, forward

STOP_GRACE_S: Final = contract.TRAINING_STOP_GRACE_S - 5.0  # time to report before our own SIGKILL
_DRAIN_S: Final = 5.0
_FORWARDED: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_PR_SET_CHILD_SUBREAPER: Final = 36  # linux/prctl.h


@dataclass(frozen=True)
class Outcome:
    """How a program ended."""

    exit_code: int
    """As a shell reports it: 128 + n if signal n ended the program."""
    stopped: bool = False
    """A stop was requested before the program ended."""
    overstayed: bool = False
    """The program was still running at the end of its grace period, and was killed."""
    out_of_memory: bool = False
    """The kernel killed a process of this container meanwhile, because memory ran out."""
    output_tail: bytes = b""
    """The last 64 KiB of standard output."""
    error_tail: bytes = b""
    """The last 64 KiB of standard error."""


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
        self._rank_variable = ""
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
        # Its handler does nothing: the signal wakes the selector.
        self._previous[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, lambda *_: None)
        _adopt_orphans(wanted=True)
        return self

    def __exit__(self, *_: object) -> None:
        """Restore the signal handlers."""
        signal.setitimer(signal.ITIMER_REAL, 0)
        _adopt_orphans(wanted=False)
        for number, handler in self._previous.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        signal.set_wakeup_fd(self._previous_wakeup)
        self._wakeup.close()
        self._wakeup_sender.close()

    def run(
        self,
        command: Sequence[str],
        cwd: Path,
        environ: Mapping[str, str],
        *,
        rank_variable: str = "",
        listener: Callable[[int, bytes], object] = lambda _sink, _data: None,
    ) -> Outcome:
        """Run `command` to its end; if a stop was requested before, do not start it.

        Stop signals reach its process group. A launcher would kill its programs soon after one, so
        they reach only the programs that it started, which may save their work: those that have
        the variable `rank_variable`, if there are any. `listener` gets what is written to our own
        streams, in complete lines unless one is held up.

        Raises: OSError if the command cannot be started.
        """
        if self.stop_signal is not None:
            return Outcome(128 + self.stop_signal, stopped=True)
        kills_before = machine.count_memory_kills()
        process = subprocess.Popen(  # noqa: S603 - the user's program
            list(command),
            cwd=cwd,
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,  # a group of its own, to be signaled (OUT-9)
        )
        self._group = process.pid
        self._rank_variable = rank_variable
        if self.stop_signal is not None:  # it came while the program was being started
            self._signal_group(self.stop_signal)
        assert process.stdout is not None  # noqa: S101 - for the type checker
        assert process.stderr is not None  # noqa: S101 - for the type checker
        streams = [
            Stream(process.stdout.fileno(), sink=1, listener=listener),
            Stream(process.stderr.fileno(), sink=2, listener=listener),
        ]
        sys.stdout.flush()
        sys.stderr.flush()
        with process.stdout, process.stderr:
            self._pump(streams, process)
        signal.setitimer(signal.ITIMER_REAL, 0)
        self._group = None
        code = process.returncode
        if code < 0:
            code = 128 - code
        return Outcome(
            exit_code=code,
            stopped=self.stop_signal is not None,
            overstayed=self._overstayed,
            out_of_memory=machine.count_memory_kills() > kills_before,
            output_tail=bytes(streams[0].tail),
            error_tail=bytes(streams[1].tail),
        )

    def wait_for_stop(self, timeout_s: float) -> None:
        """Wait until a stop is requested, for at most `timeout_s`."""
        deadline = time.monotonic() + timeout_s
        while self.stop_signal is None and (left_s := deadline - time.monotonic()) > 0:
            select.select([self._wakeup], [], [], left_s)
            self._drain_wakeup()

    def _pump(self, streams: list[Stream], process: subprocess.Popen[bytes]) -> None:
        """Pass output on until the program, its group and its output have ended."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._wakeup, selectors.EVENT_READ)
            for stream in streams:
                selector.register(stream.source, selectors.EVENT_READ, stream)
            while self._is_running(process):
                # A group that ends, or a line that is held too long, does not wake the selector.
                is_polling = process.returncode is not None or any(item.held for item in streams)
                forward(selector, LINE_WAIT_S if is_polling else None)
                self._drain_wakeup()
                self._reap(process)
            self._end_group(process, selector)
        for stream in streams:
            stream.flush()

    def _is_running(self, process: subprocess.Popen[bytes]) -> bool:
        """Return whether to wait: after a stop a shell's children may still save their work."""
        return process.returncode is None or (self.stop_signal is not None and self._group_lives())

    def _end_group(
        self, process: subprocess.Popen[bytes], selector: selectors.BaseSelector
    ) -> None:
        """Kill what the program left behind, as the end of PID 1 would; pass on its last output."""
        self._kill_group()
        drain_until = time.monotonic() + _DRAIN_S
        while len(selector.get_map()) > 1 and time.monotonic() < drain_until:  # besides the wakeup
            if not forward(selector, LINE_WAIT_S):
                break
            self._drain_wakeup()
        while self._kill_group() and time.monotonic() < drain_until:
            self._reap(process)
            time.sleep(0.001)

    def _kill_group(self) -> bool:
        """Kill what the program left; return whether anything is still there, if only a zombie."""
        self._signal_group(signal.SIGKILL)
        left: list[int] = []
        if self._rank_variable:  # its programs have process groups of their own
            left = processes.list_descendants(os.getpid())
        for pid in left:
            processes.send(pid, signal.SIGKILL)
        return bool(left) or self._group_lives()

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
        started: list[int] = []
        if self._rank_variable and self._group:
            started = processes.list_marked(os.getpid(), self._rank_variable)
        for pid in started:
            processes.send(pid, number)
        if not started:
            self._signal_group(number)

    def _kill(self, _number: int, _frame: FrameType | None) -> None:
        self._overstayed = True
        if self._rank_variable:
            for pid in processes.list_descendants(os.getpid()):
                processes.send(pid, signal.SIGKILL)
        self._signal_group(signal.SIGKILL)


def _adopt_orphans(*, wanted: bool) -> None:
    """Make the program's orphans our children, to reap them even if we are not PID 1; on Linux."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, int(wanted), 0, 0, 0)
