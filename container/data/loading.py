"""Labeled images from a channel: of any format, as one array, or in blocks where memory does not hold them.

`load` reads a directory into memory. `open_channel` does the same for a channel of a training job, a directory or a
pipe; a set that is larger than its budget comes back as a `Stream` of blocks: of a directory, from a scratch file to
which it goes while it is decoded, once; of a pipe, which the platform fills again for every epoch, from the pipe.
Formats are told by the files' names, then by their content; `container.data.formats` holds the readers.

Rules of this file: NumPy, Pillow and the standard library only, since evaluation reads with it too;
a channel is never written to (IN-3).
"""

from __future__ import annotations

import abc
import collections
import dataclasses
import functools
import io
import itertools
import mmap
import os
import tempfile
import time
import weakref
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
import numpy.typing as npt

from container import contract, machine
from container.data.formats import array_files, csv_files, picture_files, record_files
from container.data.formats.parts import (
    Labels,
    Part,
    Reading,
    Shape,
    Source,
    Task,
    from_bytes,
    from_path,
)
from container.errors import PlatformError, UserError

DATA_FORMATS: Final = ("auto", "csv", "images", "tfrecord", "recordio", "npz", "npy", "idx")
RESIZE_POLICIES: Final = picture_files.RESIZE_POLICIES
BAD_RECORD_POLICIES: Final = ("fail", "skip")
BAD_RECORD_LIMIT: Final = 100

_SUFFIXES: Final = {
    ".csv": "csv",
    ".tfrecord": "tfrecord",
    ".tfrecords": "tfrecord",
    ".rec": "recordio",
    ".npz": "npz",
    ".npy": "npy",
    **dict.fromkeys(picture_files.SUFFIXES, "images"),
}
_CONTENT_TYPES: Final = {
    "text/csv": "csv",
    "application/x-image": "images",
    "application/x-tfrecord": "tfrecord",
    "application/x-recordio": "recordio",
    "application/x-npz": "npz",
    "application/x-npy": "npy",
}
_NOUNS: Final = {
    "csv": "CSV",
    "images": "picture",
    "tfrecord": "TFRecord",
    "recordio": "RecordIO",
    "idx": "IDX",
}
_HEAD_BYTES: Final = 4096
_FAULTS_SHOWN: Final = 5
_CLASSES_LISTED: Final = 20
_RUN_BYTES: Final = (
    1 << 18
)  # read in one go from the scratch file: long enough for a disk, short enough to be shuffled
_BLOCK_BYTES: Final = 1 << 26
_PIPE_WAIT_S: Final = 600.0
_PIPE_POLL_S: Final = 0.02

Images = npt.NDArray[np.uint8]
Label = int | str


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

    def take(self, part: npt.NDArray[np.int64]) -> LabeledImages:
        """Give the images of these indices."""
        return dataclasses.replace(self, images=self.images[part], labels=self.labels[part])


class _Scratch:
    """A file without a name in the directory for temporary files; it is gone when nobody holds it any more."""

    def __init__(self) -> None:
        self._bytes = 0
        try:
            self.descriptor, name = tempfile.mkstemp(prefix="images-")
        except OSError as error:
            raise self._refuse(error) from error
        weakref.finalize(self, os.close, self.descriptor)
        Path(name).unlink()

    def append(self, images: Images) -> None:
        """Append images.

        Raises: PlatformError if the disk does not hold them.
        """
        view = np.ascontiguousarray(images).reshape(-1).data
        try:
            while view:
                count = os.write(self.descriptor, view)
                self._bytes, view = self._bytes + count, view[count:]
        except OSError as error:
            raise self._refuse(error) from error

    def _refuse(self, error: OSError) -> PlatformError:
        return PlatformError(
            f"the images exceed their memory budget, and {tempfile.gettempdir()} does not hold them: {error}, after "
            f"{self._bytes:,} bytes; memory_budget_mb, a larger volume or TMPDIR can make room"
        )

    def read(self, content: Images, offset: int) -> None:
        """Fill `content` with the bytes at `offset`."""
        view = content.data
        while view:
            count = os.preadv(self.descriptor, [view], offset)
            if not count:
                raise PlatformError("the scratch file of the images was cut off")
            view, offset = view[count:], offset + count


@dataclass(frozen=True, kw_only=True)
class Stream(abc.ABC):
    """A set of images that memory does not hold."""

    labels: npt.NDArray[np.int32]
    """`[image]`, indices into `classes`."""
    classes: tuple[Label, ...]
    image_shape: Shape
    rejected: tuple[str, ...] = ()

    @abc.abstractmethod
    def blocks(self, epoch: int, seed: int, *, multiple: int = 1) -> Iterator[LabeledImages]:
        """Give all images once, in blocks of 64 MiB or more; the same for the same seed and epoch.

        Within a block the images are not shuffled. Its length is a multiple of `multiple`, but for
        the last. While one block is used the next one is read, and memory holds these two.
        """

    @abc.abstractmethod
    def sample(self) -> Images:
        """Give some images, as different as they can be had without reading the set."""

    @abc.abstractmethod
    def spilled(self) -> _Scratched:
        """Give the set with its images in a scratch file, where each can be reached.

        Raises: PlatformError if the disk does not hold them.
        """

    def mapped(self) -> LabeledImages:
        """Map the images into memory, where the kernel holds what is looked at and drops it when it needs the room.

        The images cannot be written to.
        """
        return self.spilled().map()


@dataclass(frozen=True, kw_only=True)
class _Piped(Stream):
    """Images that a pipe brings anew for every epoch, in an order that is the platform's business."""

    read: Callable[[], Iterator[tuple[Images, npt.NDArray[Any]]]]
    """Opens the FIFO of the next epoch; gives images, and indices into the classes as they were when it was opened."""
    first_classes: tuple[Label, ...]
    """Those classes."""
    first_images: Images
    block_bytes: int

    def sample(self) -> Images:
        """Give the images that came first: for others an epoch would be spent."""
        return self.first_images

    def blocks(self, epoch: int, seed: int, *, multiple: int = 1) -> Iterator[LabeledImages]:  # noqa: ARG002
        """Give the images of the next epoch in the order of the pipe; leaving early closes it, which ends its epoch.

        Raises: UserError if there are fewer than in the first epoch.
        """
        size = max(1, self.block_bytes // int(np.prod(self.image_shape)) // multiple) * multiple
        with ThreadPoolExecutor(1, thread_name_prefix="block") as pool:
            cut = self._cut(size)
            following = pool.submit(next, cut, None)
            try:
                while (block := following.result()) is not None:
                    following = pool.submit(next, cut, None)
                    yield block
            finally:
                following.exception()  # waits
                cut.close()

    def spilled(self) -> _Scratched:
        """Read one more epoch into a scratch file."""
        scratch, labels = _Scratch(), []
        for block in self.blocks(0, 0):
            scratch.append(block.images)
            labels.append(block.labels)
        joined = np.concatenate(labels)
        return _Scratched(
            scratch=scratch,
            labels=joined,
            classes=self.classes,
            image_shape=self.image_shape,
            rejected=self.rejected,
        )

    def _cut(self, size: int) -> Generator[LabeledImages, None, None]:
        positions = {str(label): i for i, label in enumerate(self.classes)}
        lookup = np.array([positions[str(label)] for label in self.first_classes], np.int32)
        images, labels = np.empty((size, *self.image_shape), np.uint8), np.empty(size, np.int32)
        filled = count = 0
        for part_images, part_labels in self.read():
            count += len(part_labels)
            start = 0
            while start < len(part_labels):
                end = min(len(part_labels), start + size - filled)
                images[filled : filled + end - start] = part_images[start:end]
                labels[filled : filled + end - start] = lookup[part_labels[start:end]]
                filled, start = filled + end - start, end
                if filled == size:
                    yield LabeledImages(images, labels, self.classes)
                    images, labels, filled = np.empty_like(images), np.empty_like(labels), 0
        if filled:
            yield LabeledImages(images[:filled], labels[:filled], self.classes)
        if count < len(self.labels):
            message = f"the pipe brought {count:,} images in an epoch, and {len(self.labels):,} in the first"
            raise UserError(message)


@dataclass(frozen=True, kw_only=True)
class _Scratched(Stream):
    """Images that lie, decoded, in a scratch file that has no name."""

    scratch: _Scratch
    rows: npt.NDArray[np.int64] | None = None
    """`[image]`, increasing: where each image lies in the scratch file; None: one after another."""

    def take(self, part: npt.NDArray[np.int64]) -> _Scratched:
        """Give the images of these increasing indices; the scratch file is shared."""
        rows = part if self.rows is None else self.rows[part]
        return dataclasses.replace(self, labels=self.labels[part], rows=rows)

    def sample(self) -> Images:
        """Give the images of a block."""
        return next(self.blocks(0, 0)).images

    def spilled(self) -> _Scratched:
        """Give itself."""
        return self

    def map(self) -> LabeledImages:
        """Map the images into memory; a part of a set is written to a scratch file of its own first."""
        whole = self if self.rows is None else self._copy()
        content = mmap.mmap(whole.scratch.descriptor, 0, prot=mmap.PROT_READ)
        images = np.frombuffer(content, np.uint8).reshape(-1, *self.image_shape)
        return LabeledImages(images, self.labels, self.classes, self.rejected)

    def blocks(self, epoch: int, seed: int, *, multiple: int = 1) -> Iterator[LabeledImages]:
        """Gather each block from short runs all over the set, so that order in the files does not matter."""
        image_bytes = int(np.prod(self.image_shape))
        run = max(1, _RUN_BYTES // image_bytes)
        size = max(1, _BLOCK_BYTES // image_bytes // multiple) * multiple
        starts = np.random.default_rng([seed, epoch]).permutation(-(-len(self.labels) // run)) * run
        order = (starts[:, None] + np.arange(run)).reshape(-1)
        order = order[order < len(self.labels)]
        with ThreadPoolExecutor(1, thread_name_prefix="block") as pool:
            following = pool.submit(self._read, order[:size])
            for start in range(size, len(order) + size, size):
                block = following.result()
                following = pool.submit(self._read, order[start : start + size])
                yield block

    def _copy(self) -> _Scratched:
        """Copy the images to a scratch file that holds no others."""
        scratch, count = _Scratch(), len(self.labels)
        step = max(1, _BLOCK_BYTES // int(np.prod(self.image_shape)))
        for start in range(0, count, step):
            scratch.append(self._read(np.arange(start, min(start + step, count))).images)
        return dataclasses.replace(self, scratch=scratch, rows=None)

    def _read(self, order: npt.NDArray[np.int64]) -> LabeledImages:
        """Read images by index; those that follow each other in the file are read in one go."""
        images = np.empty((len(order), *self.image_shape), np.uint8)
        image_bytes = int(np.prod(self.image_shape))
        rows = order if self.rows is None else self.rows[order]
        ends = [*(np.flatnonzero(np.diff(rows) != 1) + 1), len(rows)] if len(rows) else []
        for start, end in itertools.pairwise([0, *ends]):
            self.scratch.read(images[start:end].reshape(-1), int(rows[start]) * image_bytes)
        return LabeledImages(images, self.labels[order], self.classes)


def load(  # noqa: PLR0913 - all but the first have defaults and are given by name
    directory: Path,
    *,
    label_column: str = "label",
    image_shape: Shape | None = None,
    classes: tuple[Label, ...] | None = None,
    data_format: str = "auto",
    content_type: str | None = None,
    resize: str = "refuse",
    on_bad_record: str = "fail",
    bad_record_limit: int = BAD_RECORD_LIMIT,
    role: str = "train",
) -> LabeledImages:
    """Load every image below `directory`, in the order of the files' names.

    Images that take more than a quarter of the memory are mapped from scratch space, and cannot be
    written to.
    `data_format` is one of `DATA_FORMATS`; `auto` goes by `content_type` if there are such files, else by names and
    content. CSV may have a header: the label is the column named `label_column`, else the first; the others are pixels
    0-255, row by row, channels last. `image_shape` is height, width, channels; without it the first records tell it.
    `resize` is one of `RESIZE_POLICIES`, for pictures of another size. With `classes` given, labels are looked up
    there, otherwise they make up the classes. With `on_bad_record="skip"`, up to `bad_record_limit` records that cannot
    be read are left out. `role` (`train`, `validation`, `test`) chooses among sets in one NPZ file. Hidden and empty
    files are passed over (IN-11).

    Raises: UserError that names place and reason of up to five faults.
    """
    reading = Reading(label_column, image_shape, resize, role)
    tasks = _read_directory(directory, reading, data_format, content_type)
    limit = bad_record_limit if on_bad_record == "skip" else 0
    loaded = _gather(
        tasks, str(directory), classes, limit=limit, budget_bytes=_default_budget_bytes()
    )
    return loaded if isinstance(loaded, LabeledImages) else loaded.mapped()


def open_channel(  # noqa: PLR0913 - all but the first two have defaults and are given by name
    layout: contract.Layout,
    channel: contract.Channel,
    *,
    label_column: str = "label",
    image_shape: Shape | None = None,
    classes: tuple[Label, ...] | None = None,
    data_format: str = "auto",
    resize: str = "refuse",
    on_bad_record: str = "fail",
    bad_record_limit: int = BAD_RECORD_LIMIT,
    role: str = "train",
    memory_budget_bytes: int | None = None,
    allow_empty: bool = False,
) -> LabeledImages | Stream:
    """Read a channel of a training job, which is a directory, or in Pipe mode a FIFO, to its end (IN-2 to IN-6).

    Of a pipe the first epoch is read and kept, and no other, if `memory_budget_bytes` (default: a
    quarter of the memory that the container may use) hold the images; else they are counted, and
    each pass over them reads another epoch. Images of a directory beyond the budget go to a file in
    the directory for temporary files (IMG-15). With `allow_empty`, a channel without files, as a
    host may get of a sharded set (IN-7), gives no images, of shape 0 x 0 x 0, and no classes.

    Raises: as `load`; also PlatformError if the pipe does not appear, or scratch space does not
    hold the images.
    """
    reading = Reading(label_column, image_shape, resize, role)
    budget = _default_budget_bytes() if memory_budget_bytes is None else memory_budget_bytes
    limit = bad_record_limit if on_bad_record == "skip" else 0
    if channel.input_mode == "Pipe":
        epochs = itertools.count()

        def read_next_epoch() -> Iterator[Task]:
            fifo = layout.pipe(channel.name, next(epochs))
            wrapped = channel.record_wrapper == "RecordIO"
            return _read_pipe(fifo, reading, data_format, channel.content_type, wrapped=wrapped)

        where = str(layout.pipe(channel.name, 0))
        return _gather(
            read_next_epoch(),
            where,
            classes,
            limit=limit,
            budget_bytes=budget,
            again=read_next_epoch,
        )
    directory = layout.channel(channel.name)
    if allow_empty and not (directory.is_dir() and _list_files(directory)):
        return LabeledImages(np.empty((0, 0, 0, 0), np.uint8), np.empty(0, np.int32), classes or ())
    tasks = _read_directory(directory, reading, data_format, channel.content_type)
    return _gather(tasks, str(directory), classes, limit=limit, budget_bytes=budget)


def split(
    whole: LabeledImages | Stream, fraction: float, seed: int
) -> tuple[LabeledImages | Stream, LabeledImages | Stream]:
    """Hold out a share of the images, chosen by the seed: give the others, then those; each has one image at least."""
    whole = whole if isinstance(whole, LabeledImages) else whole.spilled()
    order = np.random.default_rng(seed).permutation(len(whole.labels))
    count = min(max(1, round(fraction * len(order))), len(order) - 1)
    return whole.take(np.sort(order[count:])), whole.take(np.sort(order[:count]))


def describe(images: LabeledImages | Stream, name: str) -> str:
    """Report a set in a few lines: counts in all and of each class, shape, and what was skipped and why."""
    shape = images.image_shape if isinstance(images, Stream) else images.images.shape[1:]
    counts = np.bincount(images.labels, minlength=len(images.classes))
    height, width, channels = shape
    lines = [
        f"{name}: {len(images.labels):,} images of {height}x{width}x{channels} in {len(counts)} classes"
    ]
    if len(counts) <= _CLASSES_LISTED:
        each = ", ".join(
            f"{label}: {count:,}" for label, count in zip(images.classes, counts, strict=True)
        )
        lines.append(f"  images of each class: {each}")
    else:
        least, most = int(counts.argmin()), int(counts.argmax())
        lines.append(
            f"  images of each class: {counts[least]:,} ({images.classes[least]}) to {counts[most]:,} "
            f"({images.classes[most]}), median {np.median(counts):,.0f}"
        )
    if images.rejected:
        lines.append(f"  skipped {len(images.rejected)} records that cannot be read:")
        lines += [f"    {fault}" for fault in images.rejected[:_FAULTS_SHOWN]]
        if len(images.rejected) > _FAULTS_SHOWN:
            lines.append(f"    and {len(images.rejected) - _FAULTS_SHOWN} more")
    if isinstance(images, Stream):
        place = (
            "read anew from the pipe in every epoch"
            if isinstance(images, _Piped)
            else "in scratch space"
        )
        lines.append(
            f"  larger than the memory budget: {len(images.labels) * np.prod(shape):,} bytes, {place}"
        )
    return "\n".join(lines)


def _read_directory(
    directory: Path, reading: Reading, data_format: str, content_type: str | None
) -> Iterator[Task]:
    paths = _list_files(directory)
    kind, chosen = _choose_files(directory, paths, data_format, content_type)
    if kind == "csv":
        return csv_files.read(map(from_path, chosen), reading)
    if kind == "images":
        return picture_files.read(picture_files.list_folders(directory, chosen), reading)
    if kind == "tfrecord":
        return record_files.read_tfrecords(map(from_path, chosen), reading)
    if kind == "recordio":
        return picture_files.read(record_files.read_image_records(map(from_path, chosen)), reading)
    if kind == "npz":
        return array_files.read_npz(chosen, reading)
    return array_files.read_pairs(chosen, reading)


def _list_files(directory: Path) -> list[Path]:
    """List files that are neither hidden nor empty (IN-11), sorted by their paths' parts."""
    if not directory.is_dir():
        message = f"the channel directory {directory} does not exist"
        raise UserError(message)
    paths = []
    for root, subdirectories, names in os.walk(directory):
        subdirectories[:] = [name for name in subdirectories if not name.startswith(".")]
        paths += [Path(root, name) for name in names if not name.startswith(".")]
    return sorted(path for path in paths if path.is_file() and path.stat().st_size)


def _choose_files(
    directory: Path, paths: Sequence[Path], data_format: str, content_type: str | None
) -> tuple[str, list[Path]]:
    """Choose the format of a directory, and the files that have it; others (notes, manifests) are passed over."""
    kinds: dict[str, list[Path]] = {}
    for path in paths:
        kinds.setdefault(_recognize(path), []).append(path)
    foreign = kinds.pop("", [])
    wanted = (
        data_format
        if data_format != "auto"
        else _CONTENT_TYPES.get((content_type or "").partition(";")[0].strip())
    )
    if wanted in kinds:
        return str(wanted), kinds[str(wanted)]
    if data_format != "auto" and foreign and not kinds:
        return data_format, foreign  # the user knows better
    if data_format == "auto" and len(kinds) == 1:
        return next(iter(kinds.items()))
    if data_format == "auto" and kinds:
        found = ", ".join(
            f"{len(files)} {_name_kind(kind)} files" for kind, files in sorted(kinds.items())
        )
        message = f"{directory} holds several formats: {found}; set data_format to one of {', '.join(sorted(kinds))}"
        raise UserError(message)
    what = f"{_name_kind(data_format)} files" if data_format != "auto" else "labeled images"
    found = (
        f"found {_name_some(paths)}" if paths else "it holds no files, or only empty or hidden ones"
    )
    known = (
        ""
        if data_format != "auto"
        else "; formats: CSV, CLASS/NAME.png (jpg, bmp, gif), TFRecord, NPZ, NPY, IDX"
    )
    message = f"{directory} holds no {what}: {found}{known}"
    raise UserError(message)


def _recognize(path: Path) -> str:
    """Give a file's format by its name, else by its content; empty if it is none that is known."""
    name = path.name.lower().removesuffix(".gz")
    kind = _SUFFIXES.get(Path(name).suffix)
    if kind is None:
        with from_path(path).reading() as stream:
            kind = _recognize_content(stream.read(_HEAD_BYTES))
    return kind


def _recognize_content(head: bytes) -> str:
    for kind, is_kind in (
        ("images", picture_files.is_picture),
        ("tfrecord", record_files.is_tfrecord),
        ("recordio", record_files.is_recordio),
        ("idx", array_files.is_idx),
        ("npy", lambda head: head.startswith(b"\x93NUMPY")),
        ("npz", lambda head: head.startswith(b"PK\x03\x04")),
        ("csv", csv_files.looks_like_rows),
    ):
        if is_kind(head):
            return kind
    return ""


def _name_kind(kind: str) -> str:
    return _NOUNS.get(kind, kind.upper())


def _name_some(paths: Sequence[Path]) -> str:
    return ", ".join(path.name for path in paths[:3]) + (
        f" and {len(paths) - 3} more" if len(paths) > 3 else ""
    )


def _read_pipe(
    fifo: Path, reading: Reading, data_format: str, content_type: str | None, *, wrapped: bool
) -> Iterator[Task]:
    """Read one epoch of a pipe: objects one after another (IN-5), or each as a RecordIO record."""
    source = Source(str(fifo), lambda: _open_fifo(fifo))
    wanted = (
        data_format
        if data_format != "auto"
        else _CONTENT_TYPES.get((content_type or "").partition(";")[0].strip())
    )
    with source.reading() as stream:
        if not wrapped:
            head = stream.peek(_HEAD_BYTES) if isinstance(stream, io.BufferedReader) else b""
            kind = wanted or _recognize_content(head) or "csv"
            if kind not in ("csv", "tfrecord"):
                message = f"{fifo}: a pipe without RecordIO wrapper can carry csv and tfrecord, not {kind}"
                raise UserError(message)
            read = csv_files.read if kind == "csv" else record_files.read_tfrecords
            yield from read([Source(str(fifo), lambda: stream)], reading)
            return
        unwrapped = record_files.split_recordio(stream, str(fifo))
        first = next(unwrapped, None)
        if first is None:
            return
        both = _chain(first, unwrapped)
        kind = _recognize_content(first[:_HEAD_BYTES])
        if kind == "images":
            yield from picture_files.read(record_files.pair_records(both, str(fifo)), reading)
        elif kind in ("csv", "tfrecord") or wanted in ("csv", "tfrecord"):
            read = csv_files.read if (kind or wanted) == "csv" else record_files.read_tfrecords
            yield from read(
                (from_bytes(f"{fifo}, object {i}", data) for i, data in enumerate(both)), reading
            )
        else:
            message = f"{fifo}: its records begin with {first[:8]!r}; pictures with labels, csv or tfrecord are expected"
            raise UserError(message)


def _chain(first: bytes, others: Iterable[bytes]) -> Iterator[bytes]:
    yield first
    yield from others


def _open_fifo(fifo: Path) -> BinaryIO:
    """Wait until the platform has made the pipe, then open it, which waits until it is written to (IN-4)."""
    deadline = time.monotonic() + _PIPE_WAIT_S
    while not fifo.exists():
        if time.monotonic() > deadline:
            message = f"the pipe {fifo} did not appear within {_PIPE_WAIT_S:.0f} s"
            raise PlatformError(message)
        time.sleep(_PIPE_POLL_S)
    return fifo.open("rb")


def _gather(  # noqa: PLR0913 - the settings of one call
    tasks: Iterator[Task],
    where: str,
    classes: tuple[Label, ...] | None,
    *,
    limit: int,
    budget_bytes: int,
    again: Callable[[], Iterator[Task]] | None = None,
) -> LabeledImages | Stream:
    """Do all tasks, several at a time, and put their parts together in order.

    With `again` given, which reads the same images another time, those beyond the budget are
    counted and dropped.
    """
    store = _Store(budget_bytes, spills=again is None)
    labels: list[Labels] = []
    rejected: list[str] = []
    positions = (
        None if classes is None else {str(label): i for i, label in enumerate(classes)}
    )  # `3` is `"3"`
    shape: tuple[int, ...] | None = None
    for part in _run_ahead(tasks):
        rejected += part.faults
        if len(rejected) > limit:
            if limit:
                summary = f"more than {limit} records cannot be read, the last of them"
                raise UserError.from_faults(summary, rejected[-_FAULTS_SHOWN:])
            raise UserError.from_faults("the data cannot be read", rejected[:_FAULTS_SHOWN])
        if not len(part.labels):
            continue
        shape = shape or part.images.shape[1:]
        if part.images.shape[1:] != shape:
            message = f"{part.locate(0)} has the shape {list(part.images.shape[1:])}, those before {list(shape)}"
            raise UserError(message)
        store.append(part.images)
        labels.append(part.labels if positions is None else _look_up(part, positions))
    if shape is None:
        message = f"{where} holds no rows: nothing but headers, or no records"
        raise UserError(message)
    if classes is None:
        distinct, indices = np.unique(_join_labels(labels), return_inverse=True)
        classes, joined = tuple(distinct.tolist()), indices.astype(np.int32)
    else:
        joined = np.concatenate(labels).astype(np.int32)
    if store.is_full:
        whole: dict[str, Any] = {
            "classes": classes,
            "image_shape": shape,
            "rejected": tuple(rejected),
        }
        if store.scratch is not None:
            return _Scratched(scratch=store.scratch, labels=joined, **whole)
        assert again is not None  # noqa: S101 - for the type checker: else the store would have spilled
        read = functools.partial(_read_again, again, classes, shape, limit)
        block_bytes = max(
            _BLOCK_BYTES, budget_bytes // 4
        )  # two of them, and a copy of one on the device
        return _Piped(
            read=read,
            first_classes=classes,
            first_images=store.first,
            block_bytes=block_bytes,
            labels=joined,
            **whole,
        )
    return LabeledImages(store.images(shape), joined, classes, tuple(rejected))


def _read_again(
    again: Callable[[], Iterator[Task]],
    classes: tuple[Label, ...],
    shape: tuple[int, ...],
    limit: int,
) -> Iterator[tuple[Images, npt.NDArray[Any]]]:
    """Give images and indices into `classes` of another epoch.

    Raises: UserError if a record cannot be read and none may be skipped, or has another shape or
    class than before.
    """
    positions = {str(label): i for i, label in enumerate(classes)}
    for part in _run_ahead(again()):
        if part.faults and not limit:
            raise UserError.from_faults("the data cannot be read", part.faults[:_FAULTS_SHOWN])
        if len(part.labels):
            if part.images.shape[1:] != shape:
                message = f"{part.locate(0)} has the shape {list(part.images.shape[1:])}, the first epoch {list(shape)}"
                raise UserError(message)
            yield part.images, _look_up(part, positions)


def _run_ahead(tasks: Iterator[Task]) -> Iterator[Part]:
    """Do tasks in threads, as many as there are processors, and give the results in order; a few wait at most."""
    threads = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
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


def _look_up(part: Part, positions: dict[str, int]) -> npt.NDArray[np.int64]:
    distinct, inverse = np.unique(np.asarray(part.labels), return_inverse=True)
    names = [_canonical(label, positions) for label in distinct.tolist()]
    indices = np.array([positions.get(name, -1) for name in names], np.int64)[inverse]
    if (indices < 0).any():
        strangers = [name for name in names if name not in positions]
        message = (
            f"{part.locate(int((indices < 0).argmax()))}: a label is none of the {len(positions)} classes "
            f"{', '.join(list(positions)[:_CLASSES_LISTED])}{' ...' if len(positions) > _CLASSES_LISTED else ''}; "
            f"unknown here: {', '.join(map(repr, strangers[:_FAULTS_SHOWN]))}"
        )
        raise UserError(message)
    return indices


def _canonical(label: Label, positions: dict[str, int]) -> str:
    """Write a label as the classes do: `7.0` is class `7` if there is no class `7.0`."""
    text = str(label)
    if text not in positions:
        try:
            return str(_to_integer(text))
        except ValueError:
            return text
    return text


def _join_labels(parts: list[Labels]) -> npt.NDArray[Any]:
    """Join the parts' labels: integers if every one of them is (`7`, `7.0`), otherwise text."""
    try:
        return np.concatenate(
            [part if isinstance(part, np.ndarray) else _to_integers(part) for part in parts]
        )
    except ValueError:
        return np.array([str(label) for part in parts for label in part])


def _to_integers(labels: list[str]) -> npt.NDArray[np.int64]:
    integers = {label: _to_integer(label) for label in set(labels)}
    return np.array([integers[label] for label in labels], np.int64)


def _to_integer(label: str) -> int:
    value = float(label)
    if not value.is_integer() or "_" in label:
        raise ValueError(label)
    return int(value)


class _Store:
    """Images one after another: in memory up to the budget, then all of them in a scratch file, or nowhere."""

    def __init__(self, budget_bytes: int, *, spills: bool) -> None:
        """Reserve addresses, not memory, for the whole budget: so nothing is copied as the images grow."""
        self._budget_bytes = min(budget_bytes, _machine_bytes())
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | getattr(mmap, "MAP_NORESERVE", 0)
        self._memory = np.frombuffer(
            mmap.mmap(-1, max(1, self._budget_bytes), flags=flags), np.uint8
        )
        self._used = 0
        self._spills = spills
        self.is_full = False
        """Whether the images are not in memory."""
        self.first: Images = np.empty(0, np.uint8)
        """Some images from the start, once they are not in memory."""
        self.scratch: _Scratch | None = None

    def append(self, images: Images) -> None:
        """Add images.

        Raises: PlatformError if neither memory nor scratch space holds them.
        """
        end = self._used + images.nbytes
        if not self.is_full and end <= self._budget_bytes:
            self._memory[self._used : end] = images.reshape(-1)
            self._used = end
            return
        if not self.is_full:
            self.is_full = True
            first = self._memory[: self._used] if self._used else images.reshape(-1)
            self.first = first.reshape(-1, *images.shape[1:])[
                : max(1, _BLOCK_BYTES // images[0].nbytes)
            ].copy()
            if self._spills:
                self.scratch = _Scratch()
                self.scratch.append(self._memory[: self._used])
            self._memory = self._memory[:0].copy()
        if self.scratch is not None:
            self.scratch.append(images)

    def images(self, shape: tuple[int, ...]) -> Images:
        """Give what is in memory as `[image, *shape]`."""
        return self._memory[: self._used].reshape(-1, *shape)


def _default_budget_bytes() -> int:
    """Give a quarter of the memory that the container may use: training and its copies need the rest."""
    return min(machine.count_memory_bytes() or _machine_bytes(), _machine_bytes()) // 4


def _machine_bytes() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
