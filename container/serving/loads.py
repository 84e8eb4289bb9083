"""How busy each worker is, in memory that all of them see; by it they share new connections out evenly.

Left to the kernel, whoever wakes first accepts, and of two workers one easily serves two thirds of the clients.
"""

from __future__ import annotations

import mmap
from typing import Final

_FREE: Final = 0
_TAKEN: Final = 1
_ACCEPTING: Final = 2


class Loads:
    """A row for each worker: whether it lives and accepts, and its connections and jobs."""

    def __init__(self, workers: int) -> None:
        """Made by the master before it forks; `workers` may live at once."""
        self._memory = memoryview(mmap.mmap(-1, 16 * workers)).cast("q")
        self._own = 0
        self._rows = range(0, 2 * workers, 2)

    def take(self) -> int:
        """Take a free row for a worker that is about to be forked; for the master alone."""
        self._own = next((row for row in self._rows if self._memory[row] == _FREE), self._rows[-1])
        self._memory[self._own], self._memory[self._own + 1] = _TAKEN, 0
        return self._own

    def free(self, row: int) -> None:
        """Free the row of a worker that has ended; for the master alone."""
        self._memory[row] = _FREE

    def update(self, load: int) -> bool:
        """Write this worker's row; tell whether new connections are its to accept.

        They are unless a worker with less to do accepts them: one that does not has not noticed yet that it should.
        """
        memory, own = self._memory, self._own
        memory[own + 1] = load
        is_next = all(memory[row] != _ACCEPTING or memory[row + 1] >= load for row in self._rows if row != own)
        memory[own] = _ACCEPTING if is_next else _TAKEN
        return is_next
