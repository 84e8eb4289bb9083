"""Decoding the parts of a set in threads, and joining them in order: in memory, or as a stream."""

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
from container.data import copies
from container.data.doubts import Pixels
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
from container.data.labels import Names, clean, find_respelling, join
from container.data.stream import BLOCK_BYTES, ImageSet, PipedStream, ScratchFile, ScratchStream
from container.errors import UserError

_FAULTS_SHOWN: Final = 5
_FAULTS_LISTED: Final = 20  # of records, each of which somebody has to look at
_CLASSES_SHOWN: Final = 20


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
    pixels = Pixels()
    prints = copies.Prints()
    find_labels = _choose_labels(options)
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
            pixels.add(part.images, guesses_label=part.guesses_label)
            prints.add(part)
            labels.append(find_labels(part))
            if options.keeps_names:
                names += map(part.locate, range(len(part.labels)))
    if shape is None:
        raise UserError(f"{where} holds no rows: only headers, or no records")
    classes, indices = _settle_classes(labels, options)
    common: dict[str, Any] = {
        "labels": indices,
        "classes": classes,
        "rejected": tuple(rejected),
        "notes": (*pixels.find_doubts(classes, indices), *copies.find_repeated(prints, indices)),
        "names": tuple(names),
        "prints": prints,
    }
    if not store.is_full:
        return LabeledImages(store.images(shape), **common)
    common["image_shape"] = shape
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
    names = Names(classes)
    for part in map(_drop_unlabeled, read_parts()):
        if not bad_record_limit:
            _check_rejected(part.faults, 0)
        if len(part.labels):
            _check_shape(part, shape, "the first epoch has")
            yield part.images, _look_up(part, names)


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
    locate = part.locate
    return Part(
        part.images[kept],
        [labels[i] for i in kept],
        lambda index: locate(int(kept[index])),
        [*part.faults, *(f"{locate(i)}: the label is missing" for i in missing)],
        part.guesses_label,
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
    classes = tuple(distinct.tolist())
    respelled = find_respelling(labels, classes)
    if respelled:
        index = Names(classes).find(respelled)
        options.note(f"all labels are whole numbers, so {respelled!r} is class {classes[index]}")
    return classes, indices.astype(np.int32)


def _choose_labels(options: Options) -> Callable[[Part], Labels]:
    """Return what finds the labels of a part, which are indices if the classes are known."""
    if options.classes is None:
        return lambda part: part.labels
    return functools.partial(_look_up, names=Names(options.classes, options.note))


def _look_up(part: Part, names: Names) -> npt.NDArray[np.int64]:
    """Return the index of each label among the classes, where `3` and `"3"` are equal.

    Raises: UserError if a label is not among them, or two labels are one class that would be two.
    """
    distinct, inverse = np.unique(np.asarray(part.labels), return_inverse=True)
    try:
        found = names.find_all(distinct.tolist())
    except ValueError as error:
        raise UserError(f"in the records from {part.locate(0)} on, {error}") from error
    unknown = [str(name) for name, index in zip(distinct.tolist(), found, strict=True) if index < 0]
    indices = np.array(found, np.int64)[inverse]
    if unknown:
        texts = names.texts
        known = [*texts[:_CLASSES_SHOWN], *["..."] * (len(texts) > _CLASSES_SHOWN)]
        raise UserError(
            f"{part.locate(int((indices < 0).argmax()))}: the label is not one of the "
            f"{len(texts)} classes {', '.join(known)}; "
            f"unknown labels: {', '.join(map(repr, unknown[:_FAULTS_SHOWN]))}"
        )
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

    def append(self, images: Images) -> None:
        """Add images. Raises: PlatformError if scratch space is full."""
        end = self._used + images.nbytes
        if not self.is_full and end <= self._budget_bytes:
            self._memory[self._used : end] = images.reshape(-1)
            self._used = end
            return
        if not self.is_full:
            self._leave_memory(images)
        if self.scratch is not None:
            self.scratch.append(images)

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
