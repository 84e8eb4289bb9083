"""The process that the models' processes are forked from, seen from the endpoint."""

import contextlib
import os
import socket
import subprocess
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from container.serving.many_models import wire

_POLL_S: Final = 0.01


class Child:
    """A process that has been forked for a model."""

    def __init__(self, control: socket.socket, fate: socket.socket) -> None:
        """Wait for its ID. Raises: EOFError or OSError if it never began."""
        self.control = control
        """Where it says that the model is loaded, and is handed sockets."""
        self._fate = fate
        self._code: int | None = None
        self._lock = threading.Lock()
        self.pid = int(wire.receive(fate)[0]["pid"])

    def wait(self, timeout_s: float | None = None) -> int | None:
        """Return the exit code, or minus the signal's number; None if it still runs after that."""
        with self._lock:
            if self._code is None:
                self._fate.settimeout(timeout_s)
                with contextlib.suppress(TimeoutError, BlockingIOError):
                    self._code = self._receive_code()
                    self._fate.close()
            return self._code

    def _receive_code(self) -> int:
        try:
            return int(wire.receive(self._fate)[0]["code"])
        except (TimeoutError, BlockingIOError):  # they are OSErrors, too
            raise
        except (EOFError, OSError):  # its parent has died, and cannot say
            while _is_running(self.pid):
                time.sleep(_POLL_S)
            return 1


class Template:
    """Starts the process that forks, and starts it again when it has died. Thread-safe."""

    def __init__(self, command: Sequence[str]) -> None:
        """`command` is given the number of the socket on which it is asked to fork."""
        self._command = command
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def close(self) -> None:
        """End the process, and with it those that it has forked."""
        with self._lock:
            self._close()

    def _close(self) -> None:
        if self._process is not None and self._socket is not None:
            self._socket.close()
            self._process.wait()
            self._socket = None

    def fork(self, model_dir: Path) -> Child:
        """Fork the process of a model. Raises: OSError if that is not possible."""
        with self._lock:
            try:
                return self._fork(model_dir)
            except (EOFError, OSError):  # it has died since the last time, or was never there
                self._start()
            try:
                return self._fork(model_dir)
            except EOFError:
                raise OSError(f"{' '.join(self._command)} has ended") from None

    def _fork(self, model_dir: Path) -> Child:
        if self._socket is None:
            raise EOFError
        control, its_control = socket.socketpair()
        fate, its_fate = socket.socketpair()
        try:
            with its_control, its_fate:
                files = [its_control.fileno(), its_fate.fileno()]
                socket.send_fds(self._socket, [os.fsencode(model_dir)], files)
            return Child(control, fate)
        except BaseException:
            control.close()
            fate.close()
            raise

    def _start(self) -> None:
        self._close()
        ours, theirs = socket.socketpair()
        with theirs, contextlib.ExitStack() as closing:
            closing.push(ours)
            self._process = subprocess.Popen(  # noqa: S603 - our own program
                [*self._command, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )
            closing.pop_all()
        self._socket = ours


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
