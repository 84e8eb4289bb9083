"""Where the inner loop's images come from: the whole set on the device, or one block after the other of a stream."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from container.data.loading import Images, LabeledImages, Stream

_PART_BYTES = 1 << 24
_ALIGNMENT_BYTES = 64


@dataclass(frozen=True)
class Block:
    """Images on the device for some steps that follow each other."""

    images: Any
    """`[image, height, width, channel] uint8`."""
    labels: Any
    """`[image] int32`."""
    order: Any
    """`[step * part] int32`: this host's images of each step, one step after the other."""
    first_step: int
    """The job's step, counted from its start, that takes the first of them."""
    end_step: int
    """The step after the last one."""


class Source:
    """Gives the block of any step; the same for the same seed, whatever was asked for before."""

    def __init__(
        self, images: LabeledImages | Stream, batch_size: int, seed: int, part: slice | None = None
    ) -> None:
        """Cut the images into batches of `batch_size`, of which this host takes `part`; one batch there is at least."""
        self._data, self._batch_size, self._seed = images, batch_size, seed
        self._part = part or slice(0, batch_size)
        self._steps_per_pass = len(images.labels) // batch_size
        self._whole = (
            None
            if isinstance(images, Stream)
            else (_place(images.images), tf.constant(images.labels))
        )
        self._block: Block | None = None
        self._blocks: Iterator[Block] = iter(())

    def find_block(self, step: int) -> Block:
        """Give the block of a step, counted from the start of the job."""
        block = self._block
        if block is None or not block.first_step <= step < block.end_step:
            if block is None or step != block.end_step or step % self._steps_per_pass == 0:
                self._blocks = self._begin_pass(step // self._steps_per_pass)
            block = next(
                block for block in self._blocks if block.first_step <= step < block.end_step
            )
            self._block = block
        return block

    def _begin_pass(self, number: int) -> Iterator[Block]:
        """Give the blocks of one pass over the images."""
        step = number * self._steps_per_pass
        if self._whole is not None:
            order = np.random.default_rng([self._seed, number]).permutation(len(self._data.labels))
            yield self._make_block(self._whole, order, step)
            return
        assert isinstance(self._data, Stream)  # noqa: S101 - for the type checker
        for index, part in enumerate(
            self._data.blocks(number, self._seed, multiple=self._batch_size)
        ):
            order = np.random.default_rng([self._seed, number, index]).permutation(len(part.labels))
            if len(order) < self._batch_size:
                return
            block = self._make_block(
                (tf.constant(part.images), tf.constant(part.labels)), order, step
            )
            yield block
            step = block.end_step

    def _make_block(self, tensors: tuple[Any, Any], order: Any, step: int) -> Block:
        count = len(order) // self._batch_size
        batches = order[: count * self._batch_size].reshape(count, self._batch_size)[:, self._part]
        return Block(
            *tensors, tf.constant(batches.reshape(-1).astype(np.int32)), step, step + count
        )


def _place(array: Images) -> Any:
    """Give a tensor of an array: on a CPU the same memory, where it lies as TensorFlow wants it."""
    fits = (
        array.flags.c_contiguous
        and array.flags.writeable
        and array.ctypes.data % _ALIGNMENT_BYTES == 0
    )
    if fits and not tf.config.list_physical_devices("GPU"):
        return tf.experimental.dlpack.from_dlpack(array.__dlpack__())
    return tf.constant(array)


def iterate(images: LabeledImages | Stream) -> Iterator[LabeledImages]:
    """Give a set in parts, small enough that what is done with one does not take long; in any order."""
    if isinstance(images, Stream):
        yield from images.blocks(0, 0)
        return
    size = max(1, _PART_BYTES // images.images[0].nbytes)
    for start in range(0, len(images.labels), size):
        yield images.take(np.arange(start, min(start + size, len(images.labels))))


def take_sample(images: LabeledImages | Stream, count: int) -> Images:
    """Take up to `count` images from all over a set, or over the sample of a stream."""
    part = images.sample() if isinstance(images, Stream) else images.images
    return part[:: max(1, len(part) // count)][:count]
