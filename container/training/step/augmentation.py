"""Random changes of a batch inside the graph; they depend only on the seed and the step."""

import math
from typing import Any

import tensorflow as tf

from container.training.settings import Settings
from container.training.step import trivial

_SHIFT, _CUTOUT, _MIXUP, _CROP, _TRIVIAL = range(5)
_KINDS = 5
_CROP_RATIOS = (3 / 4, 4 / 3)  # width to height, as is usual for ImageNet


def augment(  # noqa: PLR0913, PLR0917 - a batch and its place in the job
    images: Any, targets: Any, settings: Settings, step: Any, part: tuple[int, int], epoch: Any = 0
) -> tuple[Any, Any]:
    """Change `images` `[n, height, width, channel] uint8` and `targets` `[n, class] float32`.

    `part` is the position of the first image in the batch of all hosts, and the size of that batch:
    all hosts draw the same numbers, and each takes its own.
    """
    first, batch_size = part
    count, height, width, _ = images.shape
    if settings.flip:
        images = _flip(images, settings.seed, epoch)
    if settings.crop_share < 1:
        images = _crop(images, settings, step, part)
    if settings.augmentation == "trivial":
        images = trivial.change(images, _seed(settings, _TRIVIAL, step), part)
    reach = min(settings.shift_pixels, height // 4, width // 4)
    if reach and settings.shift_each:
        images = _shift_each(images, reach, _seed(settings, _SHIFT, step), part)
    elif reach:
        seed = _seed(settings, _SHIFT, step)
        offset = tf.random.stateless_uniform([2], seed, 0, 2 * reach + 1, tf.int32)
        padded = tf.pad(images, [[0, 0], [reach, reach], [reach, reach], [0, 0]])
        images = tf.slice(padded, [0, offset[0], offset[1], 0], images.shape)
    if settings.cutout_pixels:
        drawn = tf.random.stateless_uniform([batch_size, 2], _seed(settings, _CUTOUT, step))
        center = tf.slice(drawn, [first, 0], [count, 2]) * tf.constant([height, width], tf.float32)
        half = settings.cutout_pixels / 2
        rows = tf.abs(tf.range(height, dtype=tf.float32)[None] + 0.5 - center[:, :1]) < half
        columns = tf.abs(tf.range(width, dtype=tf.float32)[None] + 0.5 - center[:, 1:]) < half
        cut = rows[:, :, None] & columns[:, None, :]
        images = tf.where(cut[..., None], tf.zeros_like(images), images)
    if settings.mixup_alpha:
        drawn = tf.random.stateless_gamma([2], _seed(settings, _MIXUP, step), settings.mixup_alpha)
        share = drawn[0] / tf.maximum(drawn[0] + drawn[1], 1e-30)
        share = tf.maximum(share, 1 - share)
        others = tf.cast(tf.reverse(images, [0]), tf.float32)
        blend = share * tf.cast(images, tf.float32) + (1 - share) * others
        images = tf.cast(tf.round(blend), tf.uint8)
        targets = share * targets + (1 - share) * tf.reverse(targets, [0])
    return images, targets


def _flip(images: Any, seed: int, epoch: Any) -> Any:
    """Mirror half of the images, and the others in the next epoch (arXiv:2404.00498, section 3.6).

    The sum of the pixels decides which: it is the same in each epoch, on any host, however the
    images are stored.
    """
    sums = tf.reduce_sum(tf.cast(images, tf.int64), axis=[1, 2, 3])
    # The highest of the 32 bits that a product with the golden ratio leaves (Knuth, volume 3, 6.4).
    low_bits = tf.constant(0xFFFFFFFF, tf.int64)
    mixed = tf.bitwise.bitwise_and((sums + 1 + 40503 * seed) * 2654435761, low_bits)
    half = tf.cast(tf.bitwise.right_shift(mixed, tf.constant(31, tf.int64)), tf.int32)
    mirrored = tf.equal((half + tf.cast(epoch, tf.int32)) % 2, 0)
    return tf.where(mirrored[:, None, None, None], tf.reverse(images, [2]), images)


def _shift_each(images: Any, reach: int, seed: Any, part: tuple[int, int]) -> Any:
    """Shift each image by up to `reach` pixels in each direction; reflections fill the border."""
    first, batch_size = part
    count, height, width, _ = images.shape
    drawn = tf.random.stateless_uniform([batch_size, 2], seed, 0, 2 * reach + 1, tf.int32)
    offsets = tf.slice(drawn, [first, 0], [count, 2])
    padded = tf.pad(images, [[0, 0], [reach, reach], [reach, reach], [0, 0]], "REFLECT")
    rows = tf.gather(padded, offsets[:, :1] + tf.range(height), axis=1, batch_dims=1)
    return tf.gather(rows, offsets[:, 1:] + tf.range(width), axis=2, batch_dims=1)


def _crop(images: Any, settings: Settings, step: Any, part: tuple[int, int]) -> Any:
    """Scale a random rectangle of each image up to its size (random-resized-crop)."""
    first, batch_size = part
    count, height, width, _ = images.shape
    drawn = tf.random.stateless_uniform([batch_size, 4], _seed(settings, _CROP, step))
    drawn = tf.slice(drawn, [first, 0], [count, 4])
    share = settings.crop_share + (1 - settings.crop_share) * drawn[:, 0]
    low, high = (math.log(ratio) for ratio in _CROP_RATIOS)
    ratio = tf.exp(low + (high - low) * drawn[:, 1])
    sides = tf.minimum(tf.sqrt(tf.stack([share / ratio, share * ratio], axis=1)), 1.0)
    corners = drawn[:, 2:] * (1 - sides)
    boxes = tf.concat([corners, corners + sides], axis=1)
    cropped = tf.image.crop_and_resize(images, boxes, tf.range(count), [height, width])
    return tf.cast(tf.round(cropped), tf.uint8)


def _seed(settings: Settings, kind: int, step: Any) -> Any:
    return tf.stack([tf.constant(settings.seed * _KINDS + kind, tf.int64), tf.cast(step, tf.int64)])
