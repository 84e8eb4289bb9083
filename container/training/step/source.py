"""The images of the inner loop: an entire set on the device, or a stream block by block."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from container.data.formats.parts import Images
from container.data.images import LabeledImages
from container.data.stream import ImageSet, Stream
from container.training.distributed.shares import Share
from container.training.input import pipeline
from container.training.settings import Settings
from container.training.step import memory

_PART_BYTES = 1 << 24
_ALIGNMENT_BYTES = 64


@dataclass(frozen=True)
class Block:
    """Images on the device, for some consecutive steps."""

    images: Any
    """`[image, height, width, channel] uint8`."""
    labels: Any
    """`[image] int32`."""
    order: Any
    """`[step * part] int32`: the images of this host in each step, one step after another."""
    first_step: int
    """The step that uses the first of them, counted from the start of the job."""
    end_step: int
    """The step after the last one."""


class Source:
    """The block of any step, which depends only on the seed and the step."""

    def __init__(
        self,
        images: ImageSet,
        batch_size: int,
        seed: int,
        part: slice | None = None,
        place: str | None = None,
    ) -> None:
        """Cut the images into one or more batches, of each of which this host takes `part`.

        `place` is TensorFlow's name of the device that holds them; None leaves it to TensorFlow.
        """
        self.place = place
        self._data, self._batch_size, self._seed = images, batch_size, seed
        self._part = part or slice(0, batch_size)
        self._steps_per_pass = len(images.labels) // batch_size
        self._tensors: tuple[Any, Any] = (None, None)
        if isinstance(images, LabeledImages):
            self._tensors = (_place(images.images, place), tf.constant(images.labels))
        self._block: Block | None = None
        self._blocks: Iterator[Block] = iter(())

    def find_block(self, step: int) -> Block:
        """Return the block of a step, counted from the start of the job."""
        block = self._block
        if block is None or not block.first_step <= step < block.end_step:
            if block is None or step != block.end_step or step % self._steps_per_pass == 0:
                self._blocks = self._begin_pass(*divmod(step, self._steps_per_pass))
            block = next(found for found in self._blocks if step < found.end_step)
            self._block = block
        return block

    def _begin_pass(self, number: int, first: int) -> Iterator[Block]:
        """Yield the blocks of a pass over the images, from that of its step `first` on."""
        step = number * self._steps_per_pass
        if isinstance(self._data, LabeledImages):
            order = np.random.default_rng([self._seed, number]).permutation(len(self._data.labels))
            yield self._make_block(self._tensors, order, step)
            return
        steps_per_block = self._data.count_block_images(self._batch_size) // self._batch_size
        index = first // steps_per_block
        step += index * steps_per_block
        for tensors in pipeline.read_blocks(
            self._data, (self._seed, number), self._batch_size, index
        ):
            order = tensors[2].numpy()
            if len(order) < self._batch_size:
                return
            block = self._make_block(tensors[:2], order, step)
            yield block
            step = block.end_step

    def _make_block(self, tensors: tuple[Any, Any], order: Any, step: int) -> Block:
        count = len(order) // self._batch_size
        batches = order[: count * self._batch_size].reshape(count, self._batch_size)[:, self._part]
        indices = tf.constant(batches.reshape(-1).astype(np.int32))
        return Block(*tensors, indices, step, step + count)


def make(data: ImageSet, share: Share, settings: Settings, input_shape: tuple[int, ...]) -> Source:
    """Make the source of this host's part of the images."""
    size = share.high - share.low
    if not size:  # this host has no part of a batch, but takes part in the sums
        black = np.zeros((64, *input_shape[1:]), np.uint8)
        data = LabeledImages(black, np.zeros(64, np.int32), data.classes)
    place = None
    if gpu_bytes := memory.measure_gpus():
        place = memory.HOST
        if isinstance(data, LabeledImages):  # blocks of a stream change too often
            place = memory.choose_place(data.images.nbytes, gpu_bytes)
    if share.sharded:
        return Source(data, max(1, size), settings.seed, place=place)
    return Source(data, settings.batch_size, settings.seed, slice(share.low, share.high), place)


def _place(array: Images, place: str | None) -> Any:
    """Return a tensor of an array; on CPUs without a copy, if its layout suits TensorFlow."""
    fits = (
        array.flags.c_contiguous
        and array.flags.writeable
        and array.ctypes.data % _ALIGNMENT_BYTES == 0
    )
    if fits and (place or not tf.config.get_visible_devices("GPU")):
        return tf.experimental.dlpack.from_dlpack(array.__dlpack__())
    with tf.device(place):
        return tf.constant(array)


def iterate(images: ImageSet) -> Iterator[LabeledImages]:
    """Yield a set in parts that take little time each, in any order."""
    if isinstance(images, Stream):
        yield from images.blocks(0, 0)
        return
    size = max(1, _PART_BYTES // images.images[0].nbytes)
    for start in range(0, len(images.labels), size):
        yield images.take(np.arange(start, min(start + size, len(images.labels))))


def take_sample(images: ImageSet, count: int) -> Images:
    """Take up to `count` images spread over a set, or over the sample of a stream."""
    part = images.sample() if isinstance(images, Stream) else images.images
    return part[:: max(1, len(part) // count)][:count]
