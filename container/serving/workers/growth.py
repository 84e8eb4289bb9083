"""What loading a model costs a worker, and how many workers the memory and the GPUs hold.

The first worker loads the model while the others wait. The master then starts as many more as fit.

Rules of this file: no policy of gunicorn's; what a worker writes here, the master reads.
"""

import contextlib
import logging
import mmap
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from container.serving import server_settings
from container.serving.workers import memory

log = logging.getLogger(__name__)

_LOOK_S: Final = 0.01
_REQUEST_BYTES: Final = 16 * 2**20  # for the requests of a worker
_MEBIBYTE: Final = 2**20
_GPU: Final = re.compile(r"/dev/nvidia\d+")
_SPARE: Final = 0.03  # of all memory: what is less is too little to answer requests
_SHORT: Final = -1  # in place of a growth
_FIELDS: Final = 2  # of a row: the growth, and whether a GPU is used


class Growth:
    """A row for each worker, in memory that all of them share."""

    def __init__(self, rows: int) -> None:
        """Create it in the master, before it forks."""
        self._values = memoryview(mmap.mmap(-1, 8 * _FIELDS * rows)).cast("q")
        self._row = 0

    def take(self, row: int) -> None:
        """Write to this row from now on; the master calls it before it forks a worker."""
        self._row = row
        self.clear(row)

    def clear(self, row: int) -> None:
        """Forget a worker that has ended, or is about to be forked."""
        self._values[_FIELDS * row] = 0

    def has_loaded(self, row: int) -> bool:
        """Return whether the worker of a row has loaded the model."""
        return self._values[_FIELDS * row] > 0

    def ran_short(self, row: int) -> bool:
        """Return whether the worker of a row has ended because memory was short."""
        return self._values[_FIELDS * row] == _SHORT

    def note_shortage(self) -> None:
        """Say that this worker ends, because memory is short."""
        self._values[_FIELDS * self._row] = _SHORT

    def note(self, grown_bytes: int, *, uses_gpu: bool) -> None:
        """Say what loading has cost this worker; the master looks at once."""
        self._values[_FIELDS * self._row + 1] = uses_gpu
        self._values[_FIELDS * self._row] = max(1, grown_bytes)

    def read(self) -> tuple[int, bool] | None:
        """Return the bytes that loading took and whether a GPU is used, or None before any load."""
        places = range(0, len(self._values), _FIELDS)
        grown = [(self._values[place], bool(self._values[place + 1])) for place in places]
        return max(grown) if max(grown)[0] > 0 else None

    def count_loaded(self) -> int:
        """Count the workers that have loaded the model."""
        return sum(value > 0 for value in self._values[::_FIELDS].tolist())


def count_more(
    grown_bytes: int, free_bytes: int, cores: int, gpus: Sequence[str], *, uses_gpu: bool
) -> int:
    """Return how many workers to start beside the first one.

    It has grown by `grown_bytes`, and `free_bytes` are left.
    """
    most = cores
    if uses_gpu:
        most = max(1, len(gpus))
    fitting = max(0, free_bytes) // (grown_bytes + _REQUEST_BYTES)
    return min(most - 1, fitting)


def uses_gpu() -> bool:
    """Return whether this process has opened one of NVIDIA's GPUs."""
    for link in Path("/proc/self/fd").glob("*"):
        with contextlib.suppress(OSError):
            if _GPU.fullmatch(str(link.readlink())):
                return True
    return False


@contextlib.contextmanager
def watch(available: memory.Memory, on_short: Callable[[], None]) -> Iterator[None]:
    """Call `on_short` once if memory runs short in the meantime."""

    def look() -> None:
        while not is_over.wait(_LOOK_S):
            if available.count_free_bytes(_SPARE) < 0:
                on_short()
                return

    is_over = threading.Event()
    thread = threading.Thread(target=look, name="memory", daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def describe_shortage(available: memory.Memory, workers: int) -> str:
    """Say what does not fit and what to do; `workers` are wanted, 0 if the server may choose."""
    variable = server_settings.WORKERS_VARIABLES[0]
    limit = f"the {available.count_bytes() // _MEBIBYTE} MB of memory"
    if workers > 1:
        return (
            f"{workers} workers do not fit into {limit}, as each of them loads the model: lower "
            f"{variable}={workers}, unset it for as many workers as fit, or set BYO_PRELOAD=true "
            "for workers that share the model's memory"
        )
    return (
        f"the model does not fit into {limit}, not even in one worker ({variable}=1): choose an "
        "instance with more memory, or a smaller model"
    )
