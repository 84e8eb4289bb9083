"""Labeled images in memory."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from container.data.copies import Prints
from container.data.formats.parts import Images, Label, Shape


@dataclass(frozen=True)
class LabeledImages:
    """A set of images in memory, in the order of their files and records."""

    images: Images
    """`[image, height, width, channel]` 0-255."""
    labels: npt.NDArray[np.int32]
    """`[image]`, indices into `classes`."""
    classes: tuple[Label, ...]
    """The labels as the files write them, sorted: integers if all of them are."""
    rejected: tuple[str, ...] = ()
    """Place and fault of each record that was skipped."""
    notes: tuple[str, ...] = ()
    """Lines to report about what was passed over: files, arrays, columns."""
    names: tuple[str, ...] = ()
    """Path of each image below the set's directory, or place of each one held out; else empty."""
    prints: Prints | None = None
    """Hashes of all images; None for a part of a set."""

    @property
    def image_shape(self) -> Shape:
        """Height, width and channels."""
        height, width, channels = self.images.shape[1:]
        return height, width, channels

    def locate(self, row: int) -> str:
        """Return the file of an image, with its row where a file holds several; "" if unknown."""
        if self.names:
            return self.names[row]
        return self.prints.locate(row) if self.prints else ""

    def take(self, indices: npt.NDArray[np.int64]) -> LabeledImages:
        """Return the images of these indices."""
        return dataclasses.replace(
            self,
            images=self.images[indices],
            labels=self.labels[indices],
            names=tuple(self.names[index] for index in indices if self.names),
            prints=None,
        )
