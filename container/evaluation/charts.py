"""The layout of the learning curves, in percent of the width and height of a chart."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

_X_PARTS_MAXIMUM = 8
_Y_PARTS_MAXIMUM = 4

Point = tuple[float, float]
Tick = tuple[float, str]
"""A position in percent from the left or the bottom, and its text."""


@dataclass(frozen=True)
class Curve:
    """One line of a chart."""

    name: str
    """`train` or `validation`."""
    points: list[Point]
    """Epoch and value."""
    places: list[Point]
    """Position of each point in percent, from the left and the top."""


@dataclass(frozen=True)
class Chart:
    """Training and validation values of one measure, by epoch."""

    measure: str
    """`loss` or `accuracy`."""
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    curves: list[Curve]


def draw(history: Sequence[Mapping[str, float]], measure: str) -> Chart | None:
    """Lay out the chart of a measure, or None if the history has no values of it."""
    found = {name: _collect(history, f"{name}_{measure}") for name in ("train", "validation")}
    points = list(chain(*found.values()))
    if not points:
        return None
    epochs, values = zip(*points, strict=True)
    left, right = min(epochs), max(epochs)
    x_ticks = [
        x for x in _ticks(left, right, _X_PARTS_MAXIMUM) if left <= x <= right and x % 1 == 0
    ]
    y_ticks = _ticks(min(values), max(values), _Y_PARTS_MAXIMUM)
    bottom, top = y_ticks[0], y_ticks[-1]
    curves = []
    for name, line in found.items():
        places = [(_place(x, left, right), 100 - _place(y, bottom, top)) for x, y in line]
        curves.append(Curve(name, line, places))
    return Chart(
        measure,
        [(_place(x, left, right), f"{x:.0f}") for x in x_ticks],
        [(_place(y, bottom, top), _format_tick(y, y_ticks, measure)) for y in y_ticks],
        [curve for curve in curves if curve.points],
    )


def _collect(history: Iterable[Mapping[str, float]], name: str) -> list[Point]:
    points = [
        (epoch.get("epoch", index), epoch.get(name, math.nan))
        for index, epoch in enumerate(history, start=1)
    ]
    return [point for point in points if math.isfinite(point[1])]


def _place(value: float, low: float, high: float) -> float:
    if high <= low:
        return 50.0
    return round(100 * (value - low) / (high - low), 3)


def _format_tick(value: float, ticks: Sequence[float], measure: str) -> str:
    digits = max(0, -math.floor(math.log10(ticks[1] - ticks[0]) + 1e-9))
    if measure == "accuracy":
        return f"{value:.{max(0, digits - 2)}%}"
    if digits > 6 or ticks[-1] >= 1e6:
        return f"{value:.3g}"
    return f"{value:.{digits}f}"


def _ticks(low: float, high: float, parts: int) -> list[float]:
    """Choose evenly spaced round numbers around `low` and `high`, in at most `parts` parts."""
    if high - low <= 1e-9 * max(abs(low), abs(high)):
        margin = abs(low) / 10 or 1.0
        low -= margin
        high += margin
    raw = (high - low) / parts
    magnitude = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * magnitude for factor in (1, 2, 5, 10) if factor * magnitude >= raw * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [float(f"{index * step:.12g}") for index in range(first, last + 1)]
