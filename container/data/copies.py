"""Images with the same pixels: twice in a set, or both in the training set and in another one.

Each image is known by a hash of its pixels, of 64 bits. Images of one brightness have none: they
are alike without being copies.

Rules of this file: nothing here changes a set or ends a job; what is found is a line in the log.
"""

import bisect
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from container.data.formats.parts import Part


class Prints:
    """The hashes of the images of a set, and the places of the images."""

    def __init__(self) -> None:
        self._hashes: list[npt.NDArray[np.int64]] = []
        self._starts = [0]
        self._locators: list[Callable[[int], str]] = []

    def add(self, part: Part) -> None:
        """Hash the images of a part."""
        count = len(part.images)
        pixels = part.images.reshape(count, -1)
        content, size = pixels.tobytes(), pixels.shape[1]
        starts = range(0, count * size, size)
        hashes = np.array([hash(content[start : start + size]) for start in starts], np.int64)
        hashes[(pixels == pixels[:, :1]).all(axis=1)] = 0
        self._hashes.append(hashes)
        self._starts.append(self._starts[-1] + count)
        self._locators.append(part.locate)

    def join(self) -> npt.NDArray[np.int64]:
        """Return the hash of each image; 0 for those that have none."""
        return np.concatenate([*self._hashes, np.empty(0, np.int64)])

    def locate(self, index: int) -> str:
        """Return the place of an image, such as the path of a picture."""
        part = bisect.bisect_right(self._starts, index) - 1
        return self._locators[part](index - self._starts[part])


def find_repeated(prints: Prints, labels: npt.NDArray[np.int32]) -> list[str]:
    """Say which images of a set have the pixels of an earlier one; `labels` are their classes."""
    hashes = prints.join()
    order = np.argsort(hashes, kind="stable")
    earlier, later = order[:-1], order[1:]
    is_same = (hashes[earlier] == hashes[later]) & (hashes[later] != 0)
    earlier, later = earlier[is_same], later[is_same]
    is_contrary = labels[earlier] != labels[later]
    notes = []
    for chosen, advice in (
        (~is_contrary, "of their class, which counts twice; remove the copies if this is wrong"),
        (is_contrary, "of another class; remove the one whose label is wrong"),
    ):
        pairs = sorted(zip(later[chosen].tolist(), earlier[chosen].tolist(), strict=True))
        if pairs:
            places = " equals ".join(map(prints.locate, pairs[0]))
            notes.append(
                f"warning: {len(pairs):,} images have the pixels of an earlier one {advice}; the "
                f"first: {places}"
            )
    return notes


def find_shared(prints: Prints, training: Prints, name: str) -> list[str]:
    """Say which images are in the training set, too; `name` is that of theirs."""
    hashes, known = prints.join(), training.join()
    shared = np.flatnonzero(np.isin(hashes, known) & (hashes != 0))
    if not len(shared):
        return []
    first = int(shared[0])
    twin = int(np.flatnonzero(known == hashes[first])[0])
    note = (
        f"warning: {len(shared):,} of the {len(hashes):,} {name} images are in the training "
        "set, too, so that what is measured is too good; remove them from one of the two; the "
        f"first: {prints.locate(first)} equals {training.locate(twin)}"
    )
    return [note]
