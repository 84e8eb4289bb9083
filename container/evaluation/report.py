"""The report page: from metrics, history and images to one HTML text that needs no other file.

`report.html` beside this file is the template; here stands what it shows and in which numbers.

Rules of this file: pure, returns text; every word of the user's data goes through the template's
escaping; Pillow and Jinja are imported when a page is made.
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from container.data.loading import LabeledImages

MATRIX_CLASSES_MAXIMUM: Final = (
    30  # wider tables are no picture any more; the confused pairs tell the same
)
TABLE_CLASSES_MAXIMUM: Final = 200
PAIRS_MAXIMUM: Final = 10
MISTAKES_MAXIMUM: Final = 24
THUMBNAIL_PIXELS: Final = 160
MARKED_EPOCHS_MAXIMUM: Final = 40

CHARTS: Final = (("Loss", "loss", False), ("Accuracy", "accuracy", True))
_HISTORY_COLUMNS: Final = (
    ("epoch", "Epoch", "{:.0f}"),
    ("train_loss", "Training loss", "{:.4g}"),
    ("validation_loss", "Validation loss", "{:.4g}"),
    ("train_accuracy", "Training accuracy", "{:.2%}"),
    ("validation_accuracy", "Validation accuracy", "{:.2%}"),
    ("learning_rate", "Learning rate", "{:.3g}"),
    ("images_per_s", "Images/s", "{:,.0f}"),
    ("epoch_time_s", "Seconds", "{:.2f}"),
)


def render(  # noqa: PLR0913 - the last three have defaults and are given by name
    labeled: LabeledImages,
    probabilities: NDArray[Any],
    metrics: Mapping[str, Any],
    *,
    history: Sequence[Mapping[str, float]] = (),
    facts: Mapping[str, str] | None = None,
    split: str = "test",
) -> str:
    """Make the page of `metrics`, computed from the `probabilities` `[n, class] float` of `labeled`.

    `history` has one mapping an epoch, with names of `contract.METRIC_NAMES`. `facts` are shown as they are. `split` is
    the word for the images: `test`, `validation`.
    """
    import jinja2

    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters["percent"] = _percent
    environment.filters["share"] = _share
    template = environment.from_string(
        Path(__file__).with_name("report.html").read_text(encoding="utf-8")
    )
    names = [str(name) for name in labeled.classes]
    labels, predictions = labeled.labels, probabilities.argmax(axis=1)
    wrong = np.flatnonzero(predictions != labels)
    return template.render(
        metrics=metrics,
        interval=_wilson_interval(metrics["accuracy"], metrics["row_count"]),
        names=names,
        split=split,
        facts=facts or {},
        charts=[chart for chart in (_chart(history, *kind) for kind in CHARTS) if chart],
        history=_history_table(history),
        matrix=_matrix(names, metrics["confusion_matrix"])
        if len(names) <= MATRIX_CLASSES_MAXIMUM
        else None,
        pairs=_confused_pairs(names, labels[wrong], predictions[wrong], metrics["per_class"]),
        rows=_class_rows(names, metrics["per_class"]),
        mistake_count=len(wrong),
        mistakes=_worst_mistakes(labeled, probabilities, wrong),
    )


def _percent(value: float | None, digits: int = 2) -> str:
    """Format a share; never round what is not the whole up to 100 %, nor what is not nothing down to 0 %."""
    if value is None:
        return "\N{EM DASH}"
    step = 10.0 ** -(digits + 2)
    if 0 < value < 1:
        value = min(max(value, step), 1 - step)
    return f"{value:.{digits}%}".replace("%", "\N{NARROW NO-BREAK SPACE}%")


def _share(value: float | None, digits: int = 4) -> str:
    """Format a share as a decimal fraction, with the care of `_percent`."""
    if value is None:
        return "\N{EM DASH}"
    step = 10.0**-digits
    return f"{min(max(value, step), 1 - step) if 0 < value < 1 else value:.{digits}f}"


def _wilson_interval(share: float, count: int) -> tuple[float, float]:
    """Give the 95 % interval of a share counted in `count` rows; Wilson's, which holds near 1 and for few rows."""
    z_square = 1.959964**2
    center = (share + z_square / (2 * count)) / (1 + z_square / count)
    half = math.sqrt(z_square * (share * (1 - share) + z_square / (4 * count)) / count) / (
        1 + z_square / count
    )
    return max(center - half, 0.0), min(center + half, 1.0)


def _chart(
    history: Sequence[Mapping[str, float]],
    title: str,
    measure: str,
    is_share: bool,  # noqa: FBT001
) -> dict[str, Any] | None:
    """Lay out one chart in percent of its width and height, from the bottom left; None if nothing was recorded."""
    series = []
    for name in ("train", "validation"):
        points = [
            (epoch.get("epoch", index), epoch[f"{name}_{measure}"])
            for index, epoch in enumerate(history, start=1)
            if math.isfinite(epoch.get(f"{name}_{measure}", math.nan))
        ]
        if points:
            series.append((name, points))
    if not series:
        return None
    x_values = [x for _, points in series for x, _ in points]
    y_values = [y for _, points in series for _, y in points]
    left, right = min(x_values), max(x_values)
    y_ticks = _ticks(min(y_values), max(y_values))
    bottom, top = y_ticks[0], y_ticks[-1]

    def across(x: float) -> float:
        return round(100 * (x - left) / (right - left), 3) if right > left else 50.0

    def up(y: float) -> float:
        return round(100 * (y - bottom) / (top - bottom), 3)

    digits = max(0, -math.floor(math.log10(y_ticks[1] - y_ticks[0]) + 1e-9))
    form = f".{digits}f" if digits <= 6 and top < 1e6 else ".3g"
    return {
        "title": title,
        "y_ticks": [
            (up(y), f"{y:.{max(0, digits - 2)}%}" if is_share else f"{y:{form}}") for y in y_ticks
        ],
        "x_ticks": [
            (across(x), f"{x:.0f}")
            for x in _ticks(left, right, 8)
            if left <= x <= right and float(x).is_integer()
        ],
        "series": [
            {
                "name": "Training" if name == "train" else "Validation",
                "kind": name,
                "line": " ".join(f"{across(x)},{100 - up(y)}" for x, y in points),
                "marks": [
                    (
                        across(x),
                        100 - up(y),
                        f"Epoch {x:.0f}: " + (_percent(y) if is_share else f"{y:.4g}"),
                    )
                    for x, y in points
                ]
                if len(points) <= MARKED_EPOCHS_MAXIMUM
                else [],
                "last": _percent(points[-1][1]) if is_share else f"{points[-1][1]:.4g}",
            }
            for name, points in series
        ],
    }


def _ticks(low: float, high: float, parts: int = 4) -> list[float]:
    """Choose round numbers, evenly spaced, that enclose `low` and `high` and part them at most `parts` times."""
    if high - low <= 1e-9 * max(abs(low), abs(high)):
        margin = abs(low) / 10 or 1.0
        low, high = low - margin, high + margin
    raw = (high - low) / parts
    magnitude = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * magnitude for factor in (1, 2, 5, 10) if factor * magnitude >= raw * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [float(f"{index * step:.12g}") for index in range(first, last + 1)]


def _history_table(history: Sequence[Mapping[str, float]]) -> dict[str, Any]:
    columns = [
        column for column in _HISTORY_COLUMNS if any(column[0] in epoch for epoch in history)
    ]
    return {
        "titles": [title for _, title, _ in columns],
        "rows": [
            [form.format(epoch[name]) if name in epoch else "" for name, _, form in columns]
            for epoch in history
        ],
    }


def _matrix(names: Sequence[str], matrix: Sequence[Sequence[int]]) -> list[dict[str, Any]]:
    """Give each cell the share of its row as ink: errors by the square root, so that one in a hundred shows."""
    table = []
    for label, counts in enumerate(matrix):
        total = sum(counts)
        cells = [
            {
                "count": count,
                "kind": "zero" if not count else "hit" if label == predicted else "miss",
                "ink": round(
                    0.62 * count / total
                    if label == predicted
                    else 0.1 + 0.52 * math.sqrt(count / total),
                    3,
                )
                if count
                else 0,
                "title": f"{names[label]} taken for {names[predicted]}: {count:,} of {total:,}",
            }
            for predicted, count in enumerate(counts)
        ]
        table.append({"name": names[label], "cells": cells, "total": total})
    return table


def _confused_pairs(
    names: Sequence[str],
    labels: NDArray[Any],
    predictions: NDArray[Any],
    per_class: Sequence[Mapping[str, Any]],
) -> list[dict[str, Any]]:
    pairs, counts = np.unique(np.stack([labels, predictions]), axis=1, return_counts=True)
    order = np.argsort(-counts, kind="stable")[:PAIRS_MAXIMUM]
    return [
        {
            "label": names[pairs[0, index]],
            "predicted": names[pairs[1, index]],
            "count": int(counts[index]),
            "share": counts[index] / per_class[pairs[0, index]]["support"],
        }
        for index in order
    ]


def _class_rows(
    names: Sequence[str], per_class: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Give all classes in their order, or of very many the worst by F1."""
    shown: Iterable[int] = range(len(names))
    if len(names) > TABLE_CLASSES_MAXIMUM:
        shown = sorted(shown, key=lambda index: per_class[index]["f1"])[:TABLE_CLASSES_MAXIMUM]
    return [{"name": names[index], **per_class[index]} for index in shown]


def _worst_mistakes(
    labeled: LabeledImages, probabilities: NDArray[Any], wrong: NDArray[Any]
) -> list[dict[str, Any]]:
    """Give the mistakes in which the model was most certain, the worst first."""
    images, labels, predictions = labeled.images, labeled.labels, probabilities.argmax(axis=1)
    certainty = probabilities[wrong, predictions[wrong]] - probabilities[wrong, labels[wrong]]
    return [
        {
            "row": int(row),
            "label": labeled.classes[labels[row]],
            "predicted": labeled.classes[predictions[row]],
            "score": float(probabilities[row, predictions[row]]),
            "label_score": float(probabilities[row, labels[row]]),
            "pixelated": max(images.shape[1:3]) < THUMBNAIL_PIXELS // 2,
            "source": "data:image/png;base64,"
            + base64.b64encode(_encode_png(images[row])).decode("ascii"),
        }
        for row in wrong[np.argsort(-certainty, kind="stable")[:MISTAKES_MAXIMUM]]
    ]


def _encode_png(image: NDArray[np.uint8]) -> bytes:
    """Encode `[height, width, channel] uint8`: 3 channels are colors, of any other number the first is shown."""
    from PIL import Image

    pixels = image if image.shape[2] == 3 else image[:, :, 0]
    picture = Image.fromarray(np.ascontiguousarray(pixels))
    picture.thumbnail((THUMBNAIL_PIXELS, THUMBNAIL_PIXELS))
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()
