"""The event loop's stay on the thread of user code, and how it is taken back.

Quick code is called by the loop itself, which then runs on the thread that has loaded the code:
code may be bound to its thread. Meanwhile the loop's own thread looks on. If a call takes long, it
takes the loop back and serves the other clients; the call's answer comes later, as from any thread.

Rules of this file: whoever holds the loop is decided under one lock; a thread that has lost it
touches nothing of it.
"""

import threading
import time
from typing import Final, Generic, TypeVar

Caller = TypeVar("Caller")

LOOK_S: Final = 0.02
"""How often the loop's own thread looks, and how long a call may take."""


class SeatLostError(BaseException):
    """The loop has been taken from this thread in the middle of a turn, which ends there."""


class Seat(Generic[Caller]):
    """One stay of the loop on the thread of user code; callers are connections."""

    def __init__(self) -> None:
        self.left = threading.Event()
        """Set once the loop has left the thread."""
        self.error: BaseException | None = None
        """What ended the stay, if it was a fault of the loop."""
        self._lock = threading.Lock()
        self._caller: Caller | None = None
        self._thread = 0
        self._since = 0.0
        self._is_taken = False

    def sit_down(self) -> None:
        """Begin the stay, in the thread of user code."""
        self._thread = threading.get_ident()

    def begin(self, caller: Caller) -> None:
        """Call user code for a client."""
        with self._lock:
            self._caller = caller
            self._since = time.monotonic()

    def end(self) -> bool:
        """End the call; return False if the loop has been taken meanwhile."""
        with self._lock:
            self._caller = None
            return not self._is_taken

    def take(self, started: dict[int, float]) -> Caller | None:
        """Take the loop if a call takes long, and return its client.

        When the call began is written to `started`, by thread.
        """
        with self._lock:
            caller = self._caller
            if caller is None or time.monotonic() - self._since < LOOK_S:
                return None
            self._is_taken = True
            started[self._thread] = self._since
            return caller
