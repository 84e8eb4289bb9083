"""Splitting and describing a set of images, wherever the images are."""

import dataclasses
from typing import Final

import numpy as np

from container.data.doubts import find_label_doubts
from container.data.formats.csv_tables import TABLE_ADVICE
from container.data.images import LabeledImages
from container.data.stream import ImageSet, Stream

_CLASSES_LISTED: Final = 20
_SMALL_SIDE: Final = 7
_FAULTS_LISTED: Final = 5


def split(images: ImageSet, fraction: float, seed: int) -> tuple[ImageSet, ImageSet]:
    """Hold out a share of the images, chosen by `seed`.

    Returns: the others and the held-out ones, at least one image each. Only these keep places.
    """
    whole = images if isinstance(images, LabeledImages) else images.spilled()
    order = np.random.default_rng(seed).permutation(len(whole.labels))
    count = min(max(1, round(fraction * len(order))), len(order) - 1)
    chosen = np.sort(order[:count])
    names: tuple[str, ...] = ()
    if whole.prints:
        names = tuple(map(whole.prints.locate, chosen.tolist()))
    # What was left out is reported once.
    held_out = dataclasses.replace(whole.take(chosen), rejected=(), notes=(), names=names)
    kept = whole.take(np.sort(order[count:]))
    lost = [str(kept.classes[index]) for index in np.setdiff1d(held_out.labels, kept.labels)]
    if lost:
        note = f"warning: all images of {', '.join(lost[:_CLASSES_LISTED])} are held out"
        kept = dataclasses.replace(kept, notes=(*kept.notes, note))
    return kept, held_out


def describe(images: ImageSet, name: str) -> str:
    """Describe a set in a few lines: total, shape, images of each class, and skipped records."""
    counts = np.bincount(images.labels, minlength=len(images.classes))
    total = len(images.labels)
    size = "x".join(map(str, images.image_shape))
    lines = [f"{name}: {total:,} images of {size} in {len(counts)} classes"]
    if 0 < max(images.image_shape[:2]) < _SMALL_SIDE:
        lines.append(f"  warning: the images are tiny; if they are a table: {TABLE_ADVICE}")
    if len(counts) <= _CLASSES_LISTED:
        pairs = zip(images.classes, counts, strict=True)
        summary = ", ".join(f"{label}: {count:,}" for label, count in pairs)
    else:
        least, most = int(counts.argmin()), int(counts.argmax())
        summary = (
            f"{counts[least]:,} ({images.classes[least]}) to {counts[most]:,} "
            f"({images.classes[most]}), median {np.median(counts):,.0f}"
        )
    lines.append(f"  images of each class: {summary}")
    doubts = find_label_doubts(images.classes, total)
    lines += [f"  warning: {text}" for text in doubts]
    if images.rejected:
        lines.append(f"  skipped {len(images.rejected)} records that cannot be read:")
        lines += [f"    {fault}" for fault in images.rejected[:_FAULTS_LISTED]]
    if len(images.rejected) > _FAULTS_LISTED:
        lines.append(f"    and {len(images.rejected) - _FAULTS_LISTED} more")
    lines += [f"  {line}" for line in images.notes]
    if isinstance(images, Stream):
        needed = total * images.image_bytes
        lines.append(f"  larger than the memory budget: {needed:,} bytes, {images.place}")
    return "\n".join(lines)
