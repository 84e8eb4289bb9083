"""Decoding the parts of a set in threads, and joining them in order: in memory, or as a stream."""

from __future__ import annotations

import collections
import dataclasses
import functools
import mmap
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from container import machine
from container.data.formats.parts import (
    MISSING_LABELS,
    Images,
    Label,
    Labels,
    Options,
    Part,
    Shape,
    Task,
)
from container.data.images import LabeledImages
from container.data.labels import canonical, clean, join
from container.data.stream import BLOCK_BYTES, ImageSet, PipedStream, ScratchFile, ScratchStream
from container.errors import UserError

_FAULTS_SHOWN: Final = 5
_FAULTS_LISTED: Final = 20  # of records, each of which somebody has to look at
_CLASSES_SHOWN: Final = 20
_DARK_MAXIMUM: Final = 31  # of pictures with five bits a value; those of UCI's digits end at 16


def gather(
    tasks: Iterator[Task],
    where: str,
    options: Options,
    read_again: Callable[[], Iterator[Task]] | None = None,
) -> ImageSet:
    """Run all tasks, several at a time, and join their parts in order.

    If `read_again` is given, which reads the same images once more, images beyond the memory
    budget are counted and dropped; otherwise they go to a scratch file.

    Raises: UserError if records cannot be read, differ in shape, or have an unknown label;
    PlatformError if scratch space is full.
    """
    budget_bytes = options.memory_budget_bytes
    if budget_bytes is None:
        budget_bytes = _default_budget_bytes()
    store = _Store(budget_bytes, spills=read_again is None)
    labels: list[Labels] = []
    rejected: list[str] = []
    names: list[str] = []
    shape: Shape | None = None
    for part in map(_drop_unlabeled, (options.run or run_ahead)(tasks)):
        rejected += part.faults
        _check_rejected(rejected, options.bad_record_limit)
        if len(part.labels):
            shape = shape or part.shape
            _check_shape(part, shape, "the records before it have")
            store.append(part.images)
            known = options.classes
            labels.append(part.labels if known is None else _look_up(part, known))
            names += _name_records(part, options)
    if shape is None:
        message = f"{where} holds no rows: only headers, or no records"
        raise UserError(message)
    classes, indices = _settle_classes(labels, options)
    if not store.is_full:
        images = store.images(shape)
        return LabeledImages(
            images, indices, classes, tuple(rejected), store.find_doubts(), tuple(names)
        )
    common: dict[str, Any] = {
        "labels": indices,
        "classes": classes,
        "image_shape": shape,
        "rejected": tuple(rejected),
        "notes": store.find_doubts(),
        "names": tuple(names),
    }
    if store.scratch is not None:
        return ScratchStream(scratch=store.scratch, **common)
    assert read_again is not None  # noqa: S101 - for the type checker: the store would have spilled
    run = options.run or run_ahead
    read = functools.partial(
        _read_again, lambda: run(read_again()), classes, shape, options.bad_record_limit
    )
    return PipedStream(
        read=read,
        first_classes=classes,
        first_images=store.first,
        # Memory holds two blocks, and the device a copy of one.
        block_bytes=max(BLOCK_BYTES, budget_bytes // 4),
        **common,
    )


def _name_records(part: Part, options: Options) -> list[str]:
    """Return the place of each record, if somebody asks for them."""
    if not options.keeps_names:
        return []
    return [part.locate(index) for index in range(len(part.labels))]


def _read_again(
    read_parts: Callable[[], Iterator[Part]],
    classes: tuple[Label, ...],
    shape: Shape,
    bad_record_limit: int,
) -> Iterator[tuple[Images, npt.NDArray[Any]]]:
    """Yield the images of another epoch, and their indices into `classes`.

    Raises: UserError if a record cannot be read and none may be skipped, or if shape or class was
    not in the first epoch.
    """
    for part in map(_drop_unlabeled, read_parts()):
        if not bad_record_limit:
            _check_rejected(part.faults, 0)
        if len(part.labels):
            _check_shape(part, shape, "the first epoch has")
            yield part.images, _look_up(part, classes)


def _drop_unlabeled(part: Part) -> Part:
    """Clean text labels, and reject records whose label is missing."""
    labels = part.labels
    if isinstance(labels, np.ndarray):
        return part
    labels = [clean(label) for label in labels]
    missing = [i for i, label in enumerate(labels) if label.casefold() in MISSING_LABELS]
    if not missing:
        return dataclasses.replace(part, labels=labels)
    kept = np.setdiff1d(np.arange(len(labels)), missing)
    return Part(
        part.images[kept],
        [labels[i] for i in kept],
        lambda index: part.locate(int(kept[index])),
        [*part.faults, *(f"{part.locate(i)}: the label is missing" for i in missing)],
    )


def _check_rejected(rejected: Sequence[str], limit: int) -> None:
    if len(rejected) <= limit:
        return
    if not limit:
        faults = list(rejected[:_FAULTS_LISTED])
        if len(rejected) > _FAULTS_LISTED:
            faults.append(f"and {len(rejected) - _FAULTS_LISTED} more")
        # The remedy comes first, since the platform cuts the reason of a failure.
        summary = (
            "the data cannot be read (on_bad_record=skip leaves bad records out and counts them)"
        )
        raise UserError.from_faults(summary, faults)
    summary = f"more than {limit} records cannot be read; the last ones"
    raise UserError.from_faults(summary, rejected[-_FAULTS_SHOWN:])


def _check_shape(part: Part, shape: Shape, others: str) -> None:
    if part.shape != shape:
        message = f"{part.locate(0)} has the shape {list(part.shape)}; {others} {list(shape)}"
        raise UserError(message)


def run_ahead(tasks: Iterator[Task]) -> Iterator[Part]:
    """Run tasks in one thread per processor, a few in advance, and yield their parts in order."""
    threads = machine.count_threads()
    with ThreadPoolExecutor(threads, thread_name_prefix="decode") as pool:
        waiting: collections.deque[Any] = collections.deque()
        try:
            for task in tasks:
                waiting.append(pool.submit(task))
                if len(waiting) > 2 * threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def _settle_classes(
    labels: list[Labels], options: Options
) -> tuple[tuple[Label, ...], npt.NDArray[np.int32]]:
    """Return the classes, and of each image the index of its class."""
    if options.classes is not None:
        return options.classes, np.concatenate(labels).astype(np.int32)
    distinct, indices = np.unique(
        join(labels, keeps_spelling=options.keeps_spelling), return_inverse=True
    )
    return tuple(distinct.tolist()), indices.astype(np.int32)


def _look_up(part: Part, classes: tuple[Label, ...]) -> npt.NDArray[np.int64]:
    """Return the index of each label among `classes`, where `3` and `"3"` are equal.

    Raises: UserError if a label is not among them.
    """
    positions = {str(label): i for i, label in enumerate(classes)}
    distinct, inverse = np.unique(np.asarray(part.labels), return_inverse=True)
    names = [canonical(label, positions) for label in distinct.tolist()]
    unknown = [name for name in names if name not in positions]
    indices = np.array([positions.get(name, -1) for name in names], np.int64)[inverse]
    if unknown:
        known = [*list(positions)[:_CLASSES_SHOWN], *["..."] * (len(positions) > _CLASSES_SHOWN)]
        message = (
            f"{part.locate(int((indices < 0).argmax()))}: the label is not one of the "
            f"{len(positions)} classes {', '.join(known)}; "
            f"unknown labels: {', '.join(map(repr, unknown[:_FAULTS_SHOWN]))}"
        )
        raise UserError(message)
    return indices


class _Store:
    """Images in memory up to the budget; beyond it all go to a scratch file, or are dropped."""

    def __init__(self, budget_bytes: int, *, spills: bool) -> None:
        """Reserve addresses, not memory, for the budget: nothing is copied as the set grows."""
        self._budget_bytes = min(budget_bytes, _machine_bytes())
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | getattr(mmap, "MAP_NORESERVE", 0)
        content = mmap.mmap(-1, max(1, self._budget_bytes), flags=flags)
        self._memory = np.frombuffer(content, np.uint8)
        self._used = 0
        self._spills = spills
        self.is_full = False
        """Whether the images are no longer in memory."""
        self.first: Images = np.empty(0, np.uint8)
        """Some images from the start, once the store is full."""
        self.scratch: ScratchFile | None = None
        self._brightest = 0

    def append(self, images: Images) -> None:
        """Add images.

        Raises: PlatformError if scratch space is full.
        """
        if self._brightest <= _DARK_MAXIMUM:
            self._brightest = max(self._brightest, int(images.max(initial=0)))
        end = self._used + images.nbytes
        if not self.is_full and end <= self._budget_bytes:
            self._memory[self._used : end] = images.reshape(-1)
            self._used = end
            return
        if not self.is_full:
            self._leave_memory(images)
        if self.scratch is not None:
            self.scratch.append(images)

    def find_doubts(self) -> tuple[str, ...]:
        """Say what makes the pixels look as if they were on another scale than 0-255."""
        if self._brightest > _DARK_MAXIMUM:
            return ()
        doubt = (
            f"warning: no pixel is above {self._brightest}, where 255 is white, so all images are "
            "nearly black; if the values are true and false, or on another scale, write them as "
            "0-255: (images * 255).astype('uint8') for 0 and 1"
        )
        return (doubt,)

    def _leave_memory(self, images: Images) -> None:
        self.is_full = True
        first = self._memory[: self._used] if self._used else images.reshape(-1)
        count = max(1, BLOCK_BYTES // images[0].nbytes)
        self.first = first.reshape(-1, *images.shape[1:])[:count].copy()
        if self._spills:
            self.scratch = ScratchFile()
            self.scratch.append(self._memory[: self._used])
        self._memory = self._memory[:0].copy()

    def images(self, shape: Shape) -> Images:
        """Return the images in memory, `[image, *shape]`."""
        return self._memory[: self._used].reshape(-1, *shape)


def _default_budget_bytes() -> int:
    """Return a quarter of the memory that the container may use; training needs the rest."""
    return min(machine.count_memory_bytes() or _machine_bytes(), _machine_bytes()) // 4


def _machine_bytes() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
