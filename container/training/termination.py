"""Stop requests: SIGTERM and SIGINT set a flag that the training loop looks at between its inner loops.

A handler that raised would tear a TensorFlow call apart; a flag lets the loop finish its steps and
save (OUT-8). While there is nothing to save the process ends at once instead, whatever it is doing:
importing, loading, compiling. If the main thread does not end in time, the process ends with what
was saved before.

Rules of this file: Python runs handlers in the main thread, and only between two of its own
instructions; so a thread hears of signals from the interpreter's wake-up descriptor, and does all
that a handler would.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
import time

_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_LONGEST_S = 100.0  # OUT-8: SIGKILL comes after 120


class StopRequest:
    """Owns this process's stop signals; make one per process, in the main thread, before anything slow."""

    def __init__(self, longest_s: float = _LONGEST_S) -> None:
        """Take over the signals, also where this process is PID 1 and has no default handlers (IMG-5).

        The process ends at the latest `longest_s` after the first signal.
        """
        self.requested = False
        self.worth_saving = False
        """Set once there is a trained step; until then a stop ends the process at once with exit code 0."""
        self.saved = ""
        """What is on the disk, in words: the checkpoint or the model written last."""
        self._longest_s = longest_s
        receiver, self._sender = (
            socket.socketpair()
        )  # the interpreter wants a descriptor that does not block
        self._sender.settimeout(0)
        threading.Thread(target=self._listen, args=(receiver,), daemon=True, name="stop").start()
        signal.set_wakeup_fd(self._sender.fileno(), warn_on_full_buffer=False)
        for number in _SIGNALS:
            signal.signal(number, lambda _number, _frame: None)

    def _listen(self, receiver: socket.socket) -> None:
        number = 0
        while number not in _SIGNALS:  # others' handlers make the interpreter write, too
            number = receiver.recv(1)[0]
        self.requested = True
        name = signal.Signals(number).name
        if not self.worth_saving:
            _end(f"{name} before the first step: there is no model to save", 0)
        _say(f"{name}: finishing the current steps, then saving the model")
        time.sleep(self._longest_s)
        kept = f"what is kept is {self.saved}" if self.saved else "nothing had been saved"
        _end(
            f"{name} was {self._longest_s:.0f} s ago and the job has not ended: {kept}",
            0 if self.saved else 1,
        )


def _say(line: str) -> None:
    # os.write, since another thread may hold a buffered stream's lock; 1, since 2 is filtered at
    # times.
    os.write(1, f"{line}\n".encode())


def _end(line: str, code: int) -> None:
    _say(line)
    os._exit(code)
