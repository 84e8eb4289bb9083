"""What makes a set look as if it were meant in another way: its labels, columns and pixels.

Rules of this file: nothing here changes a set or ends a job; a doubt is a line in the log that says
what was found and what to do. A rule may miss a fault, and has to be silent about ordinary sets.
"""

import collections
import contextlib
import re
import unicodedata
from collections.abc import Hashable, Iterator, Sequence
from decimal import Decimal, InvalidOperation
from typing import Final

import numpy as np
import numpy.typing as npt

from container.errors import name_command

_NUMBERED_CLASSES: Final = 100
_FEW_IMAGES: Final = 20
_NAMES_SHOWN: Final = 3
_BALANCE: Final = 5
"""A class of a balanced set has at least its equal part of the images, divided by this."""
_DIGITS: Final = re.compile("[0-9]+")
_DARK_MAXIMUM: Final = 31  # of pictures with five bits per value; those of UCI's digits end at 16
_STAND_INS: Final = frozenset({"None", "null", "NULL", "NA", "N/A", "n/a", "<NA>", "NaT", "#N/A"})
"""What programs write for a value that is missing; `nan` is never a class."""


class Pixels:
    """What the pixels of a set have in common, counted part by part."""

    def __init__(self) -> None:
        self._guesses_label = True
        self._brightest = 0
        """Of all pixels but the last one of each image."""
        self._last: npt.NDArray[np.int64] = np.zeros(256, np.int64)
        """`[value]`: how many images end with a pixel of this value."""

    def add(self, images: npt.NDArray[np.uint8], *, guesses_label: bool) -> None:
        """Count the pixels of `[image, height, width, channel]`.

        `guesses_label` means that their labels are the first column because nothing names another.
        """
        if not images.size:
            return
        pixels = images.reshape(len(images), -1)
        self._guesses_label = self._guesses_label and guesses_label
        if self._brightest < 255:
            self._brightest = max(self._brightest, int(pixels[:, :-1].max(initial=0)))
        self._last += np.bincount(pixels[:, -1], minlength=256)

    def find_doubts(
        self, classes: Sequence[int | str], labels: npt.NDArray[np.int32]
    ) -> tuple[str, ...]:
        """Say whether the pixels are on another scale than 0-255, or the labels among them.

        `labels` are indices into `classes`, one per image.
        """
        doubts = []
        last_values = np.flatnonzero(self._last)
        brightest = max(self._brightest, int(last_values.max(initial=0)))
        if brightest <= _DARK_MAXIMUM:
            doubts.append(
                f"warning: no pixel is above {brightest}, where 255 is white, so all images are "
                "nearly black; if the values are true and false, or on another scale, write them "
                "as 0-255: (images * 255).astype('uint8') for 0 and 1"
            )
        is_last = self._ends_in_labels() and self._starts_with_pixels(classes, labels)
        if self._guesses_label and is_last:
            doubts.append(
                f"warning: the first column is taken as the label, but its {len(classes)} values "
                f"look like pixels, and the {len(last_values)} values of the last column like "
                "labels; set label_column=last, or label_column=first if this is right"
            )
        return tuple(doubts)

    def _ends_in_labels(self) -> bool:
        """Return whether the last column holds few values, about equally often each.

        Pixels do so only in a set that has no other values, and ends at the same one.
        """
        counts = self._last[self._last > 0]
        return (
            2 <= len(counts) <= _NUMBERED_CLASSES
            and counts.sum() >= max(2 * len(counts), _FEW_IMAGES)
            and _are_balanced(counts)
            and np.flatnonzero(self._last).max() != self._brightest
        )

    def _starts_with_pixels(
        self, classes: Sequence[int | str], labels: npt.NDArray[np.int32]
    ) -> bool:
        """Return whether the first column holds values of pixels, unlike the last one.

        They are more values, or far less equally often, or end at the brightest pixel, or the last
        column goes beyond it.
        """
        present, counts = np.unique(labels, return_counts=True)
        values = [classes[index] for index in present]
        if not all(isinstance(value, int) and 0 <= value <= self._brightest for value in values):
            return False
        last_values = np.flatnonzero(self._last)
        return (
            len(values) > len(last_values)
            or self._brightest in values
            or bool(last_values.max() > self._brightest)
            or not _are_balanced(counts)
        )


def find_label_doubts(classes: Sequence[int | str], image_count: int) -> list[str]:
    """Say what makes the classes look as if they were something else, or fewer."""
    doubts = []
    count = len(classes)
    is_number = all(isinstance(label, int) for label in classes)
    is_many = image_count >= _FEW_IMAGES and 2 * count > image_count
    if is_many or (is_number and count > _NUMBERED_CLASSES):
        doubts.append(
            f"{count:,} different labels in {image_count:,} images, such as {classes[0]!r} and "
            f"{classes[-1]!r}: if these are not classes, set label_column to the column of the "
            "labels: its header, its number, first or last"
        )
    alike: dict[Hashable, list[str]] = {}
    for label in map(str, classes):
        alike.setdefault(_simplify(label), []).append(label)
    for key, labels in alike.items():
        if len(labels) == 1:
            continue
        difference = "only in case, spaces or invisible characters"
        if isinstance(key, Decimal):
            difference = "only in how the number is written"
        listed = ", ".join(map(repr, labels))
        doubts.append(f"{listed} differ {difference}; each counts as a class")
    for label in map(str, classes):
        doubts += _doubt(label)
    return doubts


def _doubt(label: str) -> Iterator[str]:
    """Say what makes a label look as if it were none, or read in a wrong way."""
    if label in _STAND_INS:
        yield (
            f"{label!r} is taken as a class, but programs also write it for a missing label; if "
            "labels are missing, fill them in or remove the records"
        )
    if len(label.splitlines()) > 1:
        yield f"{label!r} holds a line end, perhaps since a quotation mark is missing"
    if not label.isascii() and _repair(label) != label:
        yield f"{label!r} looks like {_repair(label)!r}, read in another charset than UTF-8"


def find_header_doubts(pixels: Sequence[str]) -> list[str]:
    """Say what makes the names of the columns of pixels look as if they were something else."""
    doubts = []
    words = sorted({name for name in pixels if len(name) > 1 and name.isalpha()})
    if 2 * len(words) > len(pixels):
        doubts.append(
            f"the columns {', '.join(words[:_NAMES_SHOWN])} look like those of a table; the "
            "bundled trainer learns pictures, and for a table you write a program of your own: "
            + name_command("init --kind script DIRECTORY")
        )
    name, count = collections.Counter(pixels).most_common(1)[0]
    if 1 < count < len(pixels):
        doubts.append(f"{count} columns are called {name!r}; each is a pixel, so remove a copy")
    numbers = [tuple(map(int, _DIGITS.findall(name))) for name in pixels]
    is_numbered = numbers[0] and len(set(map(len, numbers))) == 1
    if is_numbered and numbers != sorted(numbers):
        doubts.append(
            "the columns of pixels are not in the order of their numbers: "
            f"{', '.join(pixels[:_NAMES_SHOWN])}, ...; pixels are read row by row, channels last, "
            "in the order of the columns"
        )
    return doubts


def _repair(label: str) -> str:
    """Return the text that a label was, if it is UTF-8 that was read as latin-1 or cp1252."""
    for charset in ("latin-1", "cp1252"):
        with contextlib.suppress(UnicodeError):
            return label.encode(charset).decode()
    return label


def _simplify(label: str) -> Hashable:
    """Return what labels have in common that look the same, or are the same number."""
    try:
        number = Decimal(label)
    except InvalidOperation:
        number = Decimal("nan")
    if number.is_finite() and "_" not in label:
        return number
    folded = unicodedata.normalize("NFKC", label).casefold()
    return "".join("".join(filter(str.isprintable, folded)).split())


def _are_balanced(counts: npt.NDArray[np.int64]) -> bool:
    """Return whether each class has about its equal part of the images."""
    return bool(counts.min() * len(counts) * _BALANCE >= counts.sum())
