"""Finds metrics in a training log: `name=value;`, as `contract.format_metrics` writes them (HPO-1).

Rules of this file: pure, except for the counters.
"""

import math
import re
from collections.abc import Iterator
from typing import Final, NamedTuple

_NUMBER: Final = re.compile(r"=([+-]?[0-9.]+(?:[eE][+-]?[0-9]+)?);")
_NO_NAME: Final = re.compile(r"[^\w.-]")
_NAME: Final = re.compile(r"(?<![\w.])[A-Za-z_][\w.-]*\Z")
_LARGEST_STEP: Final = 2**63 - 1
_STEP_NAMES: Final = ("epoch", "step", "iteration")
_LINE_CHARACTERS: Final = 1 << 16
_HELD_BYTES: Final = 1 << 20


class Value(NamedTuple):
    """One value of a metric."""

    name: str
    value: float
    step: int


class MetricReader:
    """Reads a stream in pieces of any size; the metrics of a line get the step that it names."""

    def __init__(self) -> None:
        self._held = b""
        self._counts: dict[str, int] = {}

    def feed(self, data: bytes) -> list[Value]:
        """Return the values of the lines that `data` completes.

        A line that is longer than any line of metrics is not read to its end.
        """
        *lines, self._held = (self._held + data).split(b"\n")
        self._held = self._held[:_HELD_BYTES]
        return [value for line in lines for value in self._read_line(line)]

    def _read_line(self, line: bytes) -> list[Value]:
        if b"=" not in line:
            return []
        text = line[:_LINE_CHARACTERS].decode("utf-8", "replace")
        found: dict[str, float] = {}
        for name, number in _find(text):
            try:
                value = float(number)
            except ValueError:  # such as 1.2.3
                continue
            if math.isfinite(value):
                found[name] = value
        named = next((found[name] for name in _STEP_NAMES if name in found), None)
        return [Value(name, value, self._find_step(name, named)) for name, value in found.items()]

    def _find_step(self, name: str, named: float | None) -> int:
        """Return the step of a value: the one of its line, or else how many came before."""
        count = self._counts.get(name, 0)
        self._counts[name] = count + 1
        if named is None or abs(named) > _LARGEST_STEP:
            return count
        return int(named)


def _find(text: str) -> Iterator[tuple[str, str]]:
    """Yield name and number of each metric, in a time that grows with the text only."""
    end = 0
    for number in _NUMBER.finditer(text):
        before = _NO_NAME.split(text[end : number.start()])[-1]
        end = number.end()
        if name := _NAME.search(before):
            yield name.group(), number.group(1)
