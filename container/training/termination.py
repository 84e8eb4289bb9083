"""Stop requests: SIGTERM and SIGINT set a flag that the training loop looks at between its inner loops.

A handler that raised would tear a TensorFlow call apart; a flag lets the loop finish its steps and save (OUT-8). While
there is nothing to save the process ends at once instead, whatever it is doing: importing, loading, compiling.
"""

from __future__ import annotations

import os
import signal
from types import FrameType

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StopRequest:
    """Owns this process's stop signals; make one per process, in the main thread, before anything slow."""

    def __init__(self) -> None:
        """Install the handlers, also where this process is PID 1 and has no default ones (IMG-5)."""
        self.requested = False
        self.worth_saving = False
        """Set once there is a trained step; until then a stop ends the process at once with exit code 0."""
        for number in _SIGNALS:
            signal.signal(number, self._handle)

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        self.requested = True
        name = signal.Signals(number).name
        # os.write, since the interrupted code may be inside a buffered stream's lock; 1, since 2 is filtered at times.
        if self.worth_saving:
            os.write(1, f"{name}: finishing the current steps, then saving the model\n".encode())
        else:
            os.write(1, f"{name} before the first step: there is no model to save\n".encode())
            os._exit(0)
