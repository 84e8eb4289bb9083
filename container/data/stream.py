"""Sets of images that do not fit into memory: in a scratch file, or read from a pipe per epoch."""

from __future__ import annotations

import abc
import dataclasses
import itertools
import mmap
import os
import tempfile
import weakref
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
import numpy.typing as npt

from container.data.copies import Prints
from container.data.formats.parts import Images, Label, Shape
from container.data.images import LabeledImages
from container.data.labels import Names
from container.errors import PlatformError, UserError

BLOCK_BYTES: Final = 1 << 26
# Read at once from the scratch file: long enough for a disk, short enough to be shuffled.
_RUN_BYTES: Final = 1 << 18


class ScratchFile:
    """An unlinked file in the directory for temporary files (IMG-15)."""

    def __init__(self) -> None:
        self._bytes = 0
        try:
            self.descriptor, name = tempfile.mkstemp(prefix="images-")
        except OSError as error:
            raise self._refuse(error) from error
        weakref.finalize(self, os.close, self.descriptor)
        Path(name).unlink()

    def append(self, images: Images) -> None:
        """Append images. Raises: PlatformError if the disk is full."""
        view = np.ascontiguousarray(images).reshape(-1).data
        try:
            while view:
                count = os.write(self.descriptor, view)
                self._bytes += count
                view = view[count:]
        except OSError as error:
            raise self._refuse(error) from error

    def _refuse(self, error: OSError) -> PlatformError:
        return PlatformError(
            f"the images exceed their memory budget and do not fit into {tempfile.gettempdir()}: "
            f"{error}, after {self._bytes:,} bytes; raise memory_budget_mb, attach a larger volume "
            "or set TMPDIR"
        )

    def read(self, content: Images, offset: int) -> None:
        """Fill `content` with the bytes at `offset`."""
        view = content.data
        while view:
            count = os.preadv(self.descriptor, [view], offset)
            if not count:
                raise PlatformError("the scratch file of the images was truncated")
            view = view[count:]
            offset += count


@dataclass(frozen=True, kw_only=True)
class Stream(abc.ABC):
    """A set of images that does not fit into memory."""

    labels: npt.NDArray[np.int32]
    """`[image]`, indices into `classes`."""
    classes: tuple[Label, ...]
    image_shape: Shape
    rejected: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    prints: Prints | None = None

    place: ClassVar[str]
    """Where the images are, in words."""

    @property
    def image_bytes(self) -> int:
        """Bytes of one image."""
        return int(np.prod(self.image_shape))

    @abc.abstractmethod
    def count_block_images(self, multiple: int = 1) -> int:
        """Return the images of a block, a multiple of `multiple`; the last block may be shorter."""

    @abc.abstractmethod
    def blocks(
        self, epoch: int, seed: int, *, multiple: int = 1, first: int = 0
    ) -> Generator[LabeledImages, None, None]:
        """Yield all images once, in blocks of 64 MiB or more; the same for the same seed and epoch.

        Within a block the images are not shuffled. Blocks before the `first` are left out.
        """

    @abc.abstractmethod
    def sample(self) -> Images:
        """Return some images, as varied as possible without reading the entire set."""

    @abc.abstractmethod
    def spilled(self) -> ScratchStream:
        """Return the set with its images in a scratch file, in random access.

        Raises: PlatformError if the disk is full.
        """

    def mapped(self) -> LabeledImages:
        """Map the images into memory, read-only; the kernel can drop their pages."""
        return self.spilled().map()


ImageSet = LabeledImages | Stream


@dataclass(frozen=True, kw_only=True)
class PipedStream(Stream):
    """Images that a pipe delivers again for every epoch, in an order that the platform chooses."""

    read: Callable[[], Iterator[tuple[Images, npt.NDArray[Any]]]]
    """Opens the FIFO of the next epoch; yields images, and indices into `first_classes`."""
    first_classes: tuple[Label, ...]
    """The classes when the pipe was first opened."""
    first_images: Images
    block_bytes: int

    place: ClassVar[str] = "read again from the pipe in every epoch"

    def sample(self) -> Images:
        """Return the first images: any others would cost an epoch."""
        return self.first_images

    def count_block_images(self, multiple: int = 1) -> int:
        """Return the images of a block, as many as the memory budget allows."""
        return max(1, self.block_bytes // self.image_bytes // multiple) * multiple

    def blocks(
        self,
        epoch: int,  # noqa: ARG002 - the platform counts the epochs
        seed: int,  # noqa: ARG002 - the platform shuffles
        *,
        multiple: int = 1,
        first: int = 0,
    ) -> Generator[LabeledImages, None, None]:
        """Yield the images of the next epoch in the order of the pipe; leaving early closes it.

        Raises: UserError if there are fewer images than in the first epoch.
        """
        # A pipe has no other positions: what comes before is read and dropped.
        yield from itertools.islice(self._cut(self.count_block_images(multiple)), first, None)

    def spilled(self) -> ScratchStream:
        """Read one more epoch into a scratch file."""
        scratch = ScratchFile()
        labels = []
        for block in self.blocks(0, 0):
            scratch.append(block.images)
            labels.append(block.labels)
        return ScratchStream(
            scratch=scratch,
            labels=np.concatenate(labels),
            classes=self.classes,
            image_shape=self.image_shape,
            rejected=self.rejected,
            notes=self.notes,
        )

    def _cut(self, size: int) -> Generator[LabeledImages, None, None]:
        names = Names(self.classes)
        lookup = np.array([names.find(label) for label in self.first_classes], np.int32)
        images = np.empty((size, *self.image_shape), np.uint8)
        labels = np.empty(size, np.int32)
        filled = count = 0
        for part_images, part_labels in self.read():
            count += len(part_labels)
            start = 0
            while start < len(part_labels):
                end = min(len(part_labels), start + size - filled)
                target = slice(filled, filled + end - start)
                images[target] = part_images[start:end]
                labels[target] = lookup[part_labels[start:end]]
                filled, start = target.stop, end
                if filled == size:
                    yield LabeledImages(images, labels, self.classes)
                    images, labels, filled = np.empty_like(images), np.empty_like(labels), 0
        if filled:
            yield LabeledImages(images[:filled], labels[:filled], self.classes)
        if count < len(self.labels):
            raise UserError(
                f"the pipe delivered {count:,} images in an epoch, but {len(self.labels):,} in the "
                "first one"
            )


@dataclass(frozen=True, kw_only=True)
class ScratchStream(Stream):
    """Decoded images in a scratch file."""

    scratch: ScratchFile
    rows: npt.NDArray[np.int64] | None = None
    """`[image]`, increasing: row of each image in the scratch file; None if there are no gaps."""

    place: ClassVar[str] = "in scratch space"

    def take(self, indices: npt.NDArray[np.int64]) -> ScratchStream:
        """Return the images of these increasing indices; the scratch file is shared."""
        labels, rows = self.labels[indices], self._locate(indices)
        return dataclasses.replace(self, labels=labels, rows=rows, prints=None)

    def sample(self) -> Images:
        """Return the images of a block."""
        return next(self.blocks(0, 0)).images

    def spilled(self) -> ScratchStream:
        """Return itself."""
        return self

    def map(self) -> LabeledImages:
        """Map the images into memory; those of a part are copied to a scratch file first."""
        scratch = self.scratch if self.rows is None else self._copy()
        content = mmap.mmap(scratch.descriptor, 0, prot=mmap.PROT_READ)
        images = np.frombuffer(content, np.uint8).reshape(-1, *self.image_shape)
        return LabeledImages(
            images, self.labels, self.classes, self.rejected, self.notes, self.names, self.prints
        )

    def count_block_images(self, multiple: int = 1) -> int:
        """Return the images of a block of 64 MiB."""
        return max(1, BLOCK_BYTES // self.image_bytes // multiple) * multiple

    def blocks(
        self, epoch: int, seed: int, *, multiple: int = 1, first: int = 0
    ) -> Generator[LabeledImages, None, None]:
        """Gather each block from short runs across the set, so the order of files is irrelevant."""
        run = max(1, _RUN_BYTES // self.image_bytes)
        size = self.count_block_images(multiple)
        starts = np.random.default_rng([seed, epoch]).permutation(-(-len(self.labels) // run)) * run
        order = (starts[:, None] + np.arange(run)).reshape(-1)
        order = order[order < len(self.labels)]
        for start in range(first * size, len(order), size):
            yield self._read(order[start : start + size])

    def _locate(self, indices: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return the rows of these images in the scratch file."""
        if self.rows is None:
            return indices
        return self.rows[indices]

    def _copy(self) -> ScratchFile:
        scratch = ScratchFile()
        count = len(self.labels)
        step = max(1, BLOCK_BYTES // self.image_bytes)
        for start in range(0, count, step):
            scratch.append(self._read(np.arange(start, min(start + step, count))).images)
        return scratch

    def _read(self, order: npt.NDArray[np.int64]) -> LabeledImages:
        """Read images by index; consecutive ones are read at once."""
        images = np.empty((len(order), *self.image_shape), np.uint8)
        rows = self._locate(order)
        ends = [*(np.flatnonzero(np.diff(rows) != 1) + 1), len(rows)] if len(rows) else []
        for start, end in itertools.pairwise([0, *ends]):
            self.scratch.read(images[start:end].reshape(-1), int(rows[start]) * self.image_bytes)
        return LabeledImages(images, self.labels[order], self.classes)
