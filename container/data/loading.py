"""Labeled images from a directory or a channel, in any format: in memory, or as a stream.

A set that is larger than its memory budget becomes a `Stream`: images of a directory are decoded
once, into a scratch file; those of a pipe are read again for every epoch.

Rules of this folder: NumPy, Pillow and the standard library only, since evaluation reads with it
too; a channel is never written to (IN-3).
"""

import dataclasses
import itertools
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from container import contract
from container.data import detection, set_names
from container.data.formats import (
    array_files,
    csv_files,
    parquet_files,
    picture_files,
    picture_folders,
    recordio_files,
    tfrecord_files,
    webdataset_files,
)
from container.data.formats.parts import Options, Task, from_path
from container.data.gathering import gather
from container.data.images import LabeledImages
from container.data.labels import Names, clean
from container.data.pipe import read_pipe
from container.data.stream import ImageSet

_DEFAULTS = Options()


def load(
    directory: Path, options: Options = _DEFAULTS, *, content_type: str | None = None
) -> LabeledImages:
    """Load every image below `directory`, in the order of the names of files.

    Images beyond the memory budget are mapped from scratch space, read-only. Hidden and empty
    files are ignored (IN-11).

    Raises: UserError that names place and reason of up to 20 faults.
    """
    images = _gather_directory(directory, options, content_type)
    return images if isinstance(images, LabeledImages) else images.mapped()


def open_channel(
    layout: contract.Layout,
    channel: contract.Channel,
    options: Options = _DEFAULTS,
    *,
    allow_empty: bool = False,
) -> ImageSet:
    """Read a channel of a training job: a directory or, in Pipe mode, FIFOs (IN-2 to IN-6).

    Only the first epoch of a pipe is read if its images fit into the memory budget. With
    `allow_empty`, a channel without files, as a host may get of a sharded set (IN-7), is a set of
    no images of shape 0 x 0 x 0, without classes.

    Raises: UserError as `load` does; PlatformError if the pipe does not appear, or scratch space
    is full.
    """
    if channel.input_mode == "Pipe":
        epochs = itertools.count()
        wrapped = channel.record_wrapper == "RecordIO"

        def read_next_epoch() -> Iterator[Task]:
            fifo = layout.pipe(channel.name, next(epochs))
            return read_pipe(fifo, options, channel.content_type, wrapped=wrapped)

        where = str(layout.pipe(channel.name, 0))
        notes: list[str] = []
        options = dataclasses.replace(options, note=notes.append)
        images = gather(read_next_epoch(), where, options, read_next_epoch)
        return dataclasses.replace(images, notes=(*images.notes, *notes))
    directory = layout.channel(channel.name)
    if allow_empty and not (directory.is_dir() and detection.list_files(directory)):
        no_images = np.empty((0, 0, 0, 0), np.uint8)
        return LabeledImages(no_images, np.empty(0, np.int32), options.classes or ())
    return _gather_directory(directory, options, channel.content_type)


def _gather_directory(directory: Path, options: Options, content_type: str | None) -> ImageSet:
    choice = detection.choose_files(directory, options.data_format, content_type)
    found, paths = choice.data_format, choice.paths
    if found != "images":  # which have rules of their own
        set_names.refuse_files(directory, paths)
    if found == "images" and options.role != "train":  # whose mistakes the report shows
        options = dataclasses.replace(options, keeps_names=True)
    notes: list[str] = []
    options = dataclasses.replace(options, note=notes.append)
    images = gather(_read(directory, found, paths, options), str(directory), options)
    level = sys.maxsize  # other files have no class
    if found == "images":
        level = picture_folders.find_class_level(directory, paths)
        notes += picture_folders.find_doubts(directory, paths, clean)
        kept = Names(images.classes[index] for index in np.unique(images.labels))

        def has_images(name: str) -> bool:
            return kept.find(picture_folders.read_name(name, options.charset)) >= 0

        picture_folders.check_classes(directory, paths, choice.others, has_images)
    notes += picture_folders.describe(directory, choice.others, level)
    names = tuple(name.removeprefix(f"{directory}/") for name in images.names)
    return dataclasses.replace(images, notes=(*images.notes, *notes), names=names)


def _read(directory: Path, found: str, paths: Sequence[Path], options: Options) -> Iterator[Task]:
    if found == "csv":
        return csv_files.read(map(from_path, paths), options)
    if found == "tfrecord":
        return tfrecord_files.read(map(from_path, paths), options)
    if found == "npz":
        return array_files.read_npz(paths, options)
    if found in ("npy", "idx"):
        return array_files.read_pairs(paths, options)
    return picture_files.read(_list_pictures(directory, found, paths, options), options)


def _list_pictures(
    directory: Path, found: str, paths: Sequence[Path], options: Options
) -> Iterable[picture_files.Encoded]:
    if found == "images":
        return picture_folders.label(directory, paths, options.charset)
    if found == "parquet":
        return parquet_files.read(paths, options)
    if found == "webdataset":
        return webdataset_files.read(map(from_path, paths), options)
    return recordio_files.read(map(from_path, paths))
