"""The tf.data pipeline, from files to the images of a step.

    once, at the start    files -> decode -> memory, or scratch space if the set is larger
    in each epoch         interleave -> shuffle -> prefetch -> batch -> augment

A set in memory is one block; only its order changes. Decoding comes before shuffling: images are
shuffled by index, which is exact, and each is decoded once and not in every epoch. `cache` and
`snapshot` cannot take the place of the scratch space, since both are read from their start:
a job could not resume within an epoch.

Rules of this file: parallelism is fixed by the CPUs of the container; autotuning is off, and each
pipeline has a thread pool of its own, because both made steps wait (docs/decisions.md).
"""

from __future__ import annotations

import collections
import contextlib
import functools
import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from container.data.formats.parts import DecodingTask, Images, Shape, Task, Unpacked
from container.data.stream import Stream
from container.training.input.picture_kinds import find_kind


def decode(first: DecodingTask, others: Iterator[Task], threads: int) -> Iterator[Task]:
    """Decode the pictures of tasks, several at a time.

    Yields: for each task, in order, a task that only decodes what TensorFlow did not.

    Raises: UserError as the iterator does.
    """
    shape = first.shape
    waiting: collections.deque[_Waiting] = collections.deque()

    def read() -> Iterator[tuple[int, list[bytes], list[bytes]]]:
        tasks: Iterator[Task] = itertools.chain([first], others)
        for index, task in enumerate(tasks):
            slab = _Waiting.unpack(index, task)
            waiting.append(slab)
            yield index, slab.pick("jpeg"), slab.pick("png")

    strings = tf.TensorSpec([None], tf.string)
    # Files and their framing: Python reads them, one after another, in the order of their names.
    reader = _Reader(read)
    dataset = reader.dataset((tf.TensorSpec([], tf.int64), strings, strings))
    # Decode: the costly stage, in parallel and without Python's lock; in order, for a seed to mean
    # the same everywhere.
    dataset = dataset.map(
        functools.partial(_decode_slab, shape=shape), num_parallel_calls=threads, deterministic=True
    )
    # A slab with a damaged picture is missing, and is decoded again by its task, which names it.
    dataset = dataset.ignore_errors()
    # Decoded slabs wait for the consumer, which copies them.
    dataset = dataset.prefetch(2)
    for index, jpegs, pngs in dataset.with_options(make_options(threads + 1)):
        while waiting[0].index < int(index):
            yield waiting.popleft().task
        yield waiting.popleft().complete({"jpeg": jpegs.numpy(), "png": pngs.numpy()})
    yield from (slab.task for slab in waiting)
    reader.check()


def read_blocks(
    stream: Stream, key: tuple[int, int], batch_size: int, first: int
) -> Iterator[tuple[Any, Any, Any]]:
    """Read the blocks of one pass over a stream, from the `first` on, while others are in use.

    `key` is the seed and the number of the pass; with them, a block has the same images in the same
    order in each start of the job, so that the position in a checkpoint is the number of a step.

    Yields: images, labels and the order in which steps take them, `[image] int32`.

    Raises: UserError or PlatformError if the stream cannot be read.
    """
    seed, epoch = key

    def read() -> Iterator[tuple[Any, Any, Any]]:
        # Interleave: a block of scratch space is gathered from short runs all over the set.
        blocks = stream.blocks(epoch, seed, multiple=batch_size, first=first)
        with contextlib.closing(blocks):  # a pipe that is left early must be closed
            for index, block in enumerate(blocks, first):
                count = len(block.labels)
                # Shuffle: within the block, by seed, pass and block; nothing else is remembered.
                order = np.random.default_rng([seed, epoch, index]).permutation(count)
                yield block.images, block.labels, order.astype(np.int32)

    integers = tf.TensorSpec([None], tf.int32)
    reader = _Reader(read)
    dataset = reader.dataset(
        (tf.TensorSpec([None, *stream.image_shape], tf.uint8), integers, integers)
    )
    # Prefetch: one block is read while one is in use, so memory holds two. Batch and augment are in
    # the graph of the step, which gathers by index: their work is on the device, and XLA fuses it.
    dataset = dataset.prefetch(1)
    yield from dataset.with_options(make_options(1))
    reader.check()


@dataclass(frozen=True)
class _Waiting:
    """A task whose pictures are in the pipeline."""

    index: int
    task: Task
    unpacked: Unpacked
    kinds: list[str]
    """Of each picture; "" for those that are not in the pipeline."""

    @classmethod
    def unpack(cls, index: int, task: Task) -> _Waiting:
        unpacked = Unpacked()
        kinds: list[str] = []
        if isinstance(task, DecodingTask):
            unpacked = task.unpack()
            kinds = [find_kind(content, task.shape) for content in unpacked.contents]
        return cls(index, task, unpacked, kinds)

    def pick(self, kind: str) -> list[bytes]:
        contents = self.unpacked.contents
        return [contents[index] for index in self._find(kind)]

    def complete(self, decoded: Mapping[str, Images]) -> Task:
        """Return a task that decodes the others."""
        if not isinstance(self.task, DecodingTask):
            return self.task
        count = len(self.kinds)
        if len(decoded["jpeg"]) == count:
            images = decoded["jpeg"]
        else:
            images = np.empty((count, *self.task.shape), np.uint8)
            for kind, some in decoded.items():
                images[self._find(kind)] = some
        return functools.partial(self.task.complete, self.unpacked, images, self._find(""))

    def _find(self, wanted: str) -> list[int]:
        return [index for index, kind in enumerate(self.kinds) if kind == wanted]


class _Reader:
    """A source of a dataset in Python, whose faults arrive as they are."""

    def __init__(self, read: Callable[[], Iterator[Any]]) -> None:
        self._read = read
        self._fault: Exception | None = None

    def dataset(self, signature: Any) -> tf.data.Dataset:
        """Return the dataset; it ends at a fault, which TensorFlow would rewrite."""

        def read() -> Iterator[Any]:
            try:
                yield from self._read()
            except Exception as error:  # noqa: BLE001 - raised again by `check`
                self._fault = error

        return tf.data.Dataset.from_generator(read, output_signature=signature)

    def check(self) -> None:
        """Raise the fault, if there was one."""
        if self._fault:
            raise self._fault


def make_options(threads: int) -> tf.data.Options:
    """Return options with a thread pool of its own and without the autotuner, which stalls."""
    options = tf.data.Options()
    options.autotune.enabled = False
    options.threading.private_threadpool_size = threads
    return options


def _decode_slab(index: Any, jpegs: Any, pngs: Any, shape: Shape) -> tuple[Any, Any, Any]:
    """Decode `[n] string` of each kind to `[n, *shape] uint8`."""

    def decode_jpeg(content: Any) -> Any:
        # The slower, exact transform, which Pillow uses, too.
        pixels = tf.io.decode_jpeg(content, channels=shape[2], dct_method="INTEGER_ACCURATE")
        return tf.ensure_shape(pixels, shape)

    def decode_png(content: Any) -> Any:
        return tf.ensure_shape(tf.io.decode_png(content, channels=shape[2]), shape)

    def decode(contents: Any, one: Callable[[Any], Any]) -> Any:
        spec = tf.TensorSpec(shape, tf.uint8)
        return tf.map_fn(one, contents, fn_output_signature=spec, parallel_iterations=1)

    return index, decode(jpegs, decode_jpeg), decode(pngs, decode_png)
