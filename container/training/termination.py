"""Stop requests: SIGTERM and SIGINT set a flag that the training loop checks between inner loops.

A handler that raised would interrupt a TensorFlow call; a flag lets the loop finish its steps and
save (OUT-8). While there is nothing to save, the process ends at once, whatever it is doing:
importing, loading, compiling. If the main thread does not end in time, the process ends with what
was saved before.

Rules of this file: Python runs handlers in the main thread, between two of its own instructions.
So a thread reads signals from the wake-up descriptor of the interpreter, and does all the work.
"""

import os
import signal
import socket
import threading
import time
from typing import NoReturn

_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_LONGEST_S = 100.0  # OUT-8: SIGKILL comes after 120


class StopRequest:
    """Owns the stop signals; create one per process, in the main thread, before anything slow."""

    def __init__(self, longest_s: float = _LONGEST_S) -> None:
        """Take over the signals, also as PID 1, which has no default handlers (IMG-5).

        The process ends at most `longest_s` after the first signal.
        """
        self.requested = False
        self.worth_saving = False
        """Set after the first step; until then a stop ends the process at once with exit code 0."""
        self.saved = ""
        """The checkpoint or model written last, in words."""
        self._longest_s = longest_s
        self._is_settled = False
        receiver, self._sender = socket.socketpair()
        self._sender.settimeout(0)  # the interpreter needs a descriptor that does not block
        threading.Thread(target=self._listen, args=(receiver,), daemon=True, name="stop").start()
        signal.set_wakeup_fd(self._sender.fileno(), warn_on_full_buffer=False)
        for number in _SIGNALS:
            signal.signal(number, lambda _number, _frame: None)

    def disregard(self) -> None:
        """Let no stop change the outcome from now on, since the job has failed or is done."""
        self._is_settled = True

    def _listen(self, receiver: socket.socket) -> None:
        number = 0
        while number not in _SIGNALS:  # other signals with a handler arrive here, too
            number = receiver.recv(1)[0]
        if self._is_settled:
            return
        self.requested = True
        name = signal.Signals(number).name
        if not self.worth_saving:
            _end(f"{name} before the first step: there is no model to save", 0)
        _say(f"{name}: finishing the current steps, then saving the model")
        time.sleep(self._longest_s)
        late = f"the job has not ended {self._longest_s:.0f} s after {name}"
        if self.saved:
            _end(f"{late}; saved: {self.saved}", 0)
        _end(f"{late}; nothing was saved", 1)


def _say(line: str) -> None:
    # os.write, since another thread may hold the lock of a stream; 1, since 2 is filtered at times.
    os.write(1, f"{line}\n".encode())


def _end(line: str, code: int) -> NoReturn:
    _say(line)
    os._exit(code)
