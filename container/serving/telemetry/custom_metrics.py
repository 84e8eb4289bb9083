"""Metrics that user code names itself, by `context.metrics`, in memory that all workers share.

Rules of this file: the page has a bound, since a name may come from a client's body; what is left
out is counted.
"""

import logging
import math
import mmap
import re
import struct
import threading
from collections.abc import Iterator
from typing import Final

NAMES_MAXIMUM: Final = 64
_NAME_BYTES: Final = 112
_SLOT: Final = struct.Struct(f"<{_NAME_BYTES}sdd")  # name, number of values, their sum
_NAME: Final = re.compile(rf"[\x20-\x21\x23-\x5b\x5d-\x7e]{{1,{_NAME_BYTES}}}")

log = logging.getLogger(__name__)


class CustomMetrics:
    """The number and the sum of each metric's values. Thread-safe."""

    def __init__(self, workers: int) -> None:
        """Create it in the master, before it forks."""
        self._row_bytes = _SLOT.size * (NAMES_MAXIMUM + 1)  # the last slot: what was left out
        self._memory = mmap.mmap(-1, self._row_bytes * workers)
        self._lock = threading.Lock()

    def observe(self, row: int, name: str, value: float) -> None:
        """Add a value to a metric of this worker's row.

        A value that is not finite is left out and counted, as is one whose name is not 1 to 112
        characters of ASCII without quotes and backslashes, or is the sixty-fifth.
        """
        start = row * self._row_bytes
        with self._lock:
            slot = NAMES_MAXIMUM
            if _NAME.fullmatch(name) and math.isfinite(value):
                slot = self._find(start, name.encode())
            if slot == NAMES_MAXIMUM:
                name = ""
                value = 0.0
            offset = start + slot * _SLOT.size
            _, count, total = _SLOT.unpack_from(self._memory, offset)
            _SLOT.pack_into(self._memory, offset, name.encode(), count + 1, total + value)
        if slot == NAMES_MAXIMUM and not count:
            message = (
                "a metric of the handler's is left out of /metrics, which has %d names at most, of "
                "1 to %d ASCII characters, and finite values"
            )
            log.warning(message, NAMES_MAXIMUM, _NAME_BYTES)

    def _find(self, start: int, name: bytes) -> int:
        """Return the slot of a name, or the first free one, or the one of what is left out."""
        for slot in range(NAMES_MAXIMUM):
            found = _SLOT.unpack_from(self._memory, start + slot * _SLOT.size)[0].rstrip(b"\0")
            if found in (name, b""):
                return slot
        return NAMES_MAXIMUM

    def add_up(self) -> tuple[dict[str, tuple[float, float]], float]:
        """Return the number and the sum of each name's values, and how many are left out."""
        totals: dict[str, tuple[float, float]] = {}
        left_out = 0.0
        for offset in range(0, len(self._memory), _SLOT.size):
            raw, count, total = _SLOT.unpack_from(self._memory, offset)
            if offset % self._row_bytes == NAMES_MAXIMUM * _SLOT.size:
                left_out += count
            elif count:
                name = raw.rstrip(b"\0").decode()
                counted, added = totals.get(name, (0.0, 0.0))
                totals[name] = (counted + count, added + total)
        return totals, left_out

    def list_lines(self) -> Iterator[str]:
        """Yield the lines of the page; none if user code has no metrics."""
        totals, left_out = self.add_up()
        if not totals and not left_out:
            return
        key = "serving_custom"
        yield f"# HELP {key} Metrics of the handlers, by context.metrics."
        yield f"# TYPE {key} summary"
        for name, (count, total) in sorted(totals.items()):
            yield f'{key}_sum{{name="{name}"}} {total:.9g}'
            yield f'{key}_count{{name="{name}"}} {count:.0f}'
        dropped = "serving_custom_left_out_total"
        yield f"# HELP {dropped} Values of metrics that have no place on this page."
        yield f"# TYPE {dropped} counter"
        yield f"{dropped} {left_out:.0f}"
