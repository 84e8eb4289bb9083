"""The page of a comparison: one HTML file that loads nothing, with the curves of all runs overlaid.

Every word of a run is escaped by the template.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from local_test.cli.runs.comparison import Comparison
from local_test.runs.run_files import Point

_WIDTH: Final = 480
_HEIGHT: Final = 200
_POINTS_MAXIMUM: Final = 400  # of a curve; about one a pixel
_TICKS: Final = 4
_SHOWN_COUNTS: Final = 20
"""Beyond as many classes the cells of a confusion matrix are too small for numbers."""


def render(compared: Comparison, title: str) -> str:
    """Return the page as text."""
    import jinja2  # noqa: PLC0415 - takes 0.1 s, at the start of each command

    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    text = Path(__file__).with_name("comparison.html").read_text(encoding="utf-8")
    charts = [draw(name, lines) for name, lines in compared.list_curves().items()]
    return environment.from_string(text).render(
        title=title,
        compared=compared,
        width=_WIDTH,
        height=_HEIGHT,
        charts=[chart for chart in charts if chart],
        matrices=[found and _shade(*found) for found in compared.confusions],
    )


def draw(name: str, lines: Sequence[Sequence[Point]]) -> dict[str, Any] | None:
    """Lay out the curves of one metric in a box, or None without any value.

    All runs share both axes, so that their curves can be compared.
    """
    everything = [point for line in lines for point in line]
    if not everything:
        return None
    steps, values = zip(*everything, strict=True)
    left, right = min(steps), max(steps)
    ticks = choose_ticks(min(values), max(values))
    bottom, top = ticks[0], ticks[-1]
    curves = []
    for index, line in enumerate(lines):
        if not line:
            continue
        places = [
            (_place(x, left, right) * _WIDTH, _HEIGHT - _place(y, bottom, top) * _HEIGHT)
            for x, y in _thin(line)
        ]
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        curves.append({"run": index, "points": points, "places": places})
    return {
        "name": name,
        "left": f"{left:g}",
        "right": f"{right:g}",
        "ticks": [
            (round(_HEIGHT - _place(tick, bottom, top) * _HEIGHT, 1), f"{tick:.6g}")
            for tick in ticks
        ],
        "curves": curves,
    }


def _thin(line: Sequence[Point]) -> Sequence[Point]:
    """Return a long curve with fewer points, always with its last."""
    stride = math.ceil(len(line) / _POINTS_MAXIMUM)
    if stride <= 1:
        return line
    return [*line[:-1:stride], line[-1]]


def _place(value: float, low: float, high: float) -> float:
    return (value - low) / (high - low) if high > low else 0.5


def choose_ticks(low: float, high: float) -> list[float]:
    """Choose round numbers, evenly spaced, that enclose an interval."""
    if high - low <= 1e-9 * max(abs(low), abs(high)):
        margin = abs(low) / 10 or 1.0
        low -= margin
        high += margin
    raw = (high - low) / _TICKS
    magnitude = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * magnitude for factor in (1, 2, 5, 10) if factor * magnitude >= raw * 0.999)
    first = math.floor(low / step + 1e-9)
    last = math.ceil(high / step - 1e-9)
    return [float(f"{index * step:.12g}") for index in range(first, last + 1)]


def _shade(classes: Sequence[str], matrix: Sequence[Sequence[int]]) -> dict[str, Any]:
    """Return classes and cells of a confusion matrix; a cell's shade is its share of the row."""
    rows = []
    for label, counts in enumerate(matrix):
        total = sum(counts) or 1
        cells = []
        for predicted, count in enumerate(counts):
            share = count / total
            kind = "hit" if label == predicted else "miss"
            # By the square root, so that one mistake in a hundred is seen.
            opacity = share if kind == "hit" else math.sqrt(share)
            cells.append({"count": count, "kind": kind, "opacity": round(0.6 * opacity, 3)})
        rows.append(cells)
    wrong = sum(map(sum, matrix)) - sum(counts[index] for index, counts in enumerate(matrix))
    return {
        "classes": classes,
        "rows": rows,
        "wrong": wrong,
        "total": sum(map(sum, matrix)),
        "has_numbers": len(classes) <= _SHOWN_COUNTS,
    }
