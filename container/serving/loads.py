"""How busy each worker is, in shared memory, so that they share new connections evenly.

Left to the kernel, the worker that wakes first accepts, and one of two workers easily gets most of
the clients.
"""

import contextlib
import mmap
import os
from typing import Final

_FREE: Final = -1
_SILENT_S: Final = 1.5  # a worker that has not looked for so long is starting, or hangs


class Loads:
    """A row for each worker: its connections and jobs, and an event with which others wake it."""

    def __init__(self, workers: int) -> None:
        """Create it in the master, before it forks; `workers` may live at the same time."""
        self._loads = memoryview(mmap.mmap(-1, 8 * workers)).cast("q")
        self._loads[:] = memoryview(b"\xff" * 8 * workers).cast("q")
        self._events: list[int] = []
        if hasattr(os, "eventfd"):  # Linux, as the only worker class that asks for one
            self._events = [os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC) for _ in range(workers)]
        self._seen = memoryview(mmap.mmap(-1, 8 * workers)).cast("d")
        self._own = 0

    def take(self) -> int:
        """Take a free row for a worker that is about to be forked; only the master calls it."""
        free = [row for row, load in enumerate(self._loads) if load == _FREE]
        self._own = free[0] if free else len(self._loads) - 1
        self._loads[self._own] = 0
        self._seen[self._own] = 0.0
        return self._own

    def free(self, row: int) -> None:
        """Free the row of a worker that has ended; only the master calls it."""
        self._loads[row] = _FREE

    @property
    def event(self) -> int:
        """The descriptor that becomes readable when this worker should look at the loads again."""
        return self._events[self._own]

    def is_least(self, load: int, now: float) -> bool:
        """Write this worker's load; return whether it should accept, because none has less.

        `now` is by `time.monotonic`, which all processes share.
        """
        self._loads[self._own] = load
        self._seen[self._own] = now
        for other, seen in zip(self._loads, self._seen, strict=True):
            if _FREE < other < load and now - seen < _SILENT_S:
                return False
        return True

    def count_surplus(self, load: int, now: float) -> int:
        """Return how many connections this worker has to give away, so that all have as many.

        Clients that came while the other workers were starting stay with the first one otherwise.
        Zero unless this worker has two more than the average, and more than any other.
        """
        living = [
            other
            for row, (other, seen) in enumerate(zip(self._loads, self._seen, strict=True))
            if row != self._own and other > _FREE and now - seen < _SILENT_S
        ]
        if not living or load < max(living):
            return 0
        surplus = load - -(-(load + sum(living)) // (len(living) + 1))
        return surplus if surplus > 1 else 0

    def wake_lesser(self, load: int) -> None:
        """Wake the workers that have less than `load`, which accept the next connections."""
        for other, event in zip(self._loads, self._events, strict=True):
            if _FREE < other < load:
                with contextlib.suppress(BlockingIOError):
                    os.eventfd_write(event, 1)
