"""How far a training of the bundled network is, from the lines that it logs: a bar and a rest.

Between two lines, of which a long epoch logs one each half minute, the rest goes down by the clock.
"""

import re
import time
from collections.abc import Callable
from typing import Final, NamedTuple

from local_test.times import format_duration

_WITHIN: Final = re.compile(
    r"epoch (\d+) of (\d+), step (\d+) of (\d+): .*?([\d.]+) images/s, (\d+) s to go"
)
_END: Final = re.compile(
    r"\bepoch=(\d+);.* images_per_s=([\d.e+-]+); epoch_time_s=([\d.e+-]+);.* eta_s=([\d.e+-]+);"
)
_BAR_CELLS: Final = 16


class _Report(NamedTuple):
    share: float
    """Of the training that is done."""
    rest_s: float
    images_per_s: float
    at_s: float


class Pace:
    """Hears the lines of a log."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` returns seconds."""
        self._clock = clock
        self._last: _Report | None = None

    def hear(self, line: str) -> None:
        """Take a line, which may say how far the training is."""
        now_s = self._clock()
        if found := _WITHIN.search(line):
            epoch, epochs, step, steps, rate, rest_s = map(float, found.groups())
            share = (epoch - 1 + step / max(1.0, steps)) / max(1.0, epochs)
            self._last = _Report(share, rest_s, rate, now_s)
        elif found := _END.search(line):
            epoch, rate, epoch_s, rest_s = map(float, found.groups())
            rest_epochs = rest_s / epoch_s if epoch_s else 0.0
            self._last = _Report(epoch / max(1.0, epoch + rest_epochs), rest_s, rate, now_s)

    def describe(self) -> str:
        """Return one line; empty before the first report and when nothing is left."""
        last = self._last
        if last is None or not last.rest_s:
            return ""
        rest_s = max(0.0, last.rest_s - (self._clock() - last.at_s))
        share = min(1.0, 1 - (1 - last.share) * rest_s / last.rest_s)
        cells = int(share * _BAR_CELLS)
        bar = "\u2588" * cells + "\u2591" * (_BAR_CELLS - cells)
        rest = "almost done"
        if round(rest_s):
            rest = f"about {format_duration(round(rest_s))} left".replace(".0 s", " s")
        return f"{share:4.0%} {bar} {rest}, {last.images_per_s:.0f} images/s"
