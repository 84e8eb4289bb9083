"""The report page: one HTML text that needs no other file, of metrics, history and images.

`report.html` in this folder is its Jinja template; this module chooses and computes what it shows.

Rules of this file: pure, returns text; the template escapes every word of the user's data; Pillow
and Jinja are imported when a page is rendered.
"""

import base64
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from container.data.images import LabeledImages
from container.evaluation import charts

_MATRIX_CLASSES_MAXIMUM: Final = 30  # wider tables cannot be read as a picture
_TABLE_CLASSES_MAXIMUM: Final = 200
_PAIRS_MAXIMUM: Final = 10
_MISTAKES_MAXIMUM: Final = 24
_THUMBNAIL_PIXELS: Final = 160


@dataclass(frozen=True)
class Background:
    """What a report says besides the measures."""

    history: Sequence[Mapping[str, float]] = ()
    """One mapping per epoch, with names of `contract.METRIC_NAMES`."""
    facts: Mapping[str, str] = field(default_factory=dict)
    """Facts about the model, by title."""
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)
    """Every hyperparameter's value in the training job."""
    date: str = ""
    """When the images were measured."""
    split: str = "test"
    """What the images are: `test` or `validation`."""


def render(
    labeled: LabeledImages,
    probabilities: NDArray[Any],
    metrics: Mapping[str, Any],
    background: Background,
) -> str:
    """Render the page of `metrics`, those of `probabilities` `[n, class] float` of `labeled`."""
    import jinja2

    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters["percent"] = format_percent
    environment.filters["share"] = format_share
    text = Path(__file__).with_name("report.html").read_text(encoding="utf-8")
    names = [str(name) for name in labeled.classes]
    labels, predictions = labeled.labels, probabilities.argmax(axis=1)
    wrong = np.flatnonzero(predictions != labels)
    curves = [charts.draw(background.history, measure) for measure in ("loss", "accuracy")]
    return environment.from_string(text).render(
        metrics=metrics,
        interval=wilson_interval(metrics["accuracy"], metrics["row_count"]),
        names=names,
        split=background.split,
        facts=background.facts,
        hyperparameters=background.hyperparameters,
        date=background.date,
        charts=[chart for chart in curves if chart],
        history=background.history,
        matrix=_shade(metrics["confusion_matrix"]) if len(names) <= _MATRIX_CLASSES_MAXIMUM else [],
        pairs=_confused_pairs(names, labels[wrong], predictions[wrong], metrics["per_class"]),
        rows=_class_rows(names, metrics["per_class"]),
        mistake_count=len(wrong),
        mistakes=_describe_mistakes(labeled, probabilities),
    )


def format_percent(value: float | None, digits: int = 2) -> str:
    """Format a share as a percentage; only all and nothing are shown as 100 % and 0 %."""
    if value is None:
        return "\N{EM DASH}"
    text = f"{_clip(value, digits + 2):.{digits}%}"
    return text.replace("%", "\N{NARROW NO-BREAK SPACE}%")


def format_share(value: float | None, digits: int = 4) -> str:
    """Format a share as a decimal fraction; only all and nothing are shown as 1 and 0."""
    if value is None:
        return "\N{EM DASH}"
    return f"{_clip(value, digits):.{digits}f}"


def _clip(value: float, digits: int) -> float:
    step = 10.0**-digits
    return min(max(value, step), 1 - step) if 0 < value < 1 else value


def wilson_interval(share: float, count: int) -> tuple[float, float]:
    """Return Wilson's 95 % interval of a share of `count` rows; valid near 1 and for few rows."""
    z_square = 1.959964**2
    scale = 1 + z_square / count
    center = (share + z_square / (2 * count)) / scale
    half = math.sqrt(z_square * (share * (1 - share) + z_square / (4 * count)) / count) / scale
    return max(center - half, 0.0), min(center + half, 1.0)


def _shade(matrix: Sequence[Sequence[int]]) -> list[list[dict[str, Any]]]:
    """Return count, kind and opacity of each cell, from its share of the row."""
    return [
        [_shade_cell(count, sum(counts), is_hit=label == i) for i, count in enumerate(counts)]
        for label, counts in enumerate(matrix)
    ]


def _shade_cell(count: int, total: int, *, is_hit: bool) -> dict[str, Any]:
    if not count:
        return {"count": 0, "kind": "zero"}
    if is_hit:
        return {"count": count, "kind": "hit", "opacity": round(0.62 * count / total, 3)}
    # By the square root, so that one error in a hundred is visible.
    opacity = round(0.1 + 0.52 * math.sqrt(count / total), 3)
    return {"count": count, "kind": "miss", "opacity": opacity}


def _confused_pairs(
    names: Sequence[str],
    labels: NDArray[Any],
    predictions: NDArray[Any],
    per_class: Sequence[Mapping[str, Any]],
) -> list[dict[str, Any]]:
    pairs, counts = np.unique(np.stack([labels, predictions]), axis=1, return_counts=True)
    order = np.argsort(-counts, kind="stable")[:_PAIRS_MAXIMUM]
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
    """Return all classes in their order, or of very many the worst by F1."""
    rows = [{"name": name, **row} for name, row in zip(names, per_class, strict=True)]
    if len(rows) > _TABLE_CLASSES_MAXIMUM:
        return sorted(rows, key=lambda row: float(row["f1"]))[:_TABLE_CLASSES_MAXIMUM]
    return rows


def find_worst(labels: NDArray[Any], probabilities: NDArray[Any]) -> NDArray[np.int64]:
    """Return the rows of the mistakes in which the model was most certain, the worst first."""
    predictions = probabilities.argmax(axis=1)
    wrong = np.flatnonzero(predictions != labels)
    certainty = probabilities[wrong, predictions[wrong]] - probabilities[wrong, labels[wrong]]
    return wrong[np.argsort(-certainty, kind="stable")[:_MISTAKES_MAXIMUM]]


def _describe_mistakes(labeled: LabeledImages, probabilities: NDArray[Any]) -> list[dict[str, Any]]:
    images, labels, predictions = labeled.images, labeled.labels, probabilities.argmax(axis=1)
    return [
        {
            "place": labeled.locate(int(row)) or f"row {row + 1}",
            "label": labeled.classes[labels[row]],
            "predicted": labeled.classes[predictions[row]],
            "score": float(probabilities[row, predictions[row]]),
            "label_score": float(probabilities[row, labels[row]]),
            "pixelated": max(images.shape[1:3]) < _THUMBNAIL_PIXELS // 2,
            "png": base64.b64encode(_encode_png(images[row])).decode("ascii"),
        }
        for row in find_worst(labels, probabilities)
    ]


def _encode_png(image: NDArray[np.uint8]) -> bytes:
    """Encode `[height, width, channel] uint8`: three channels as colors, else the first one."""
    from PIL import Image

    pixels = image if image.shape[2] == 3 else image[:, :, 0]
    picture = Image.fromarray(np.ascontiguousarray(pixels))
    picture.thumbnail((_THUMBNAIL_PIXELS, _THUMBNAIL_PIXELS))
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()
