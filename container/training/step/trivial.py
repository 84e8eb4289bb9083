"""TrivialAugment: one random operation of random strength for each image.

Source: Mueller and Hutter, TrivialAugment, 2021, with the wide space of strengths.
"""

from typing import Any, Final

import tensorflow as tf

OPERATIONS: Final = (
    "identity",
    "shear_x",
    "shear_y",
    "translate_x",
    "translate_y",
    "rotate",
    "brightness",
    "color",
    "contrast",
    "sharpness",
    "posterize",
    "solarize",
    "autocontrast",
    "equalize",
)
_LEVELS: Final = 31
_SHEAR: Final = 0.99
_TRANSLATION_PIXELS: Final = 32.0
_ROTATION: Final = 2.3561945  # 135 degrees
_STEPS: Final = 4096
_BLEND: Final = 0.99
_LEAST_BITS: Final = 2
_GRAY: Final = (19595, 38470, 7471)  # ITU-R BT.601 times 65,536, as in Pillow's "L"


def change(images: Any, seed: Any, part: tuple[int, int]) -> Any:
    """Change each of `[n, height, width, channel] uint8` by an operation of its own.

    `part` is the position of the first image in the batch of all hosts, and the size of that batch.
    """
    first, batch_size = part
    count = images.shape[0]
    drawn = tf.random.stateless_uniform([batch_size, 3], seed)
    drawn = tf.slice(drawn, [first, 0], [count, 3])
    kinds = tf.cast(drawn[:, 0] * len(OPERATIONS), tf.int32)
    strength = tf.floor(drawn[:, 1] * _LEVELS) / (_LEVELS - 1)
    signed = tf.where(drawn[:, 2] < 0.5, -strength, strength)
    return apply(images, kinds, strength, signed)


def apply(images: Any, kinds: Any, strength: Any, signed: Any) -> Any:
    """Apply `kinds` `[n] int32`, indices of OPERATIONS, of `strength` `[n]` 0-1.

    `signed` is the strength of operations that have a direction, -1 to 1.
    """
    moved = _move(images, kinds, signed)
    return _map_values(_blend(moved, kinds, signed), kinds, strength)


def _is(kinds: Any, name: str) -> Any:
    return tf.equal(kinds, OPERATIONS.index(name))


def _move(images: Any, kinds: Any, signed: Any) -> Any:
    """Shear, translate and rotate about the center; black fills what comes into view."""
    height, width = images.shape[1:3]
    zero, one = tf.zeros_like(signed), tf.ones_like(signed)
    angle = tf.where(_is(kinds, "rotate"), _ROTATION * signed, zero)
    right = tf.where(_is(kinds, "shear_x"), _SHEAR * signed, -tf.sin(angle))
    down = tf.where(_is(kinds, "shear_y"), _SHEAR * signed, tf.sin(angle))
    scale = tf.where(_is(kinds, "rotate"), tf.cos(angle), one)
    # A sine's last bit depends on its place in a vector; without it pixels are the same anywhere.
    scale, right, down = (tf.round(part * _STEPS) / _STEPS for part in (scale, right, down))
    middle_x, middle_y = (width - 1) / 2, (height - 1) / 2
    shift_x = middle_x - scale * middle_x - right * middle_y
    shift_y = middle_y - down * middle_x - scale * middle_y
    reach_x, reach_y = min(_TRANSLATION_PIXELS, width), min(_TRANSLATION_PIXELS, height)
    shift_x += tf.where(_is(kinds, "translate_x"), tf.round(reach_x * signed), zero)
    shift_y += tf.where(_is(kinds, "translate_y"), tf.round(reach_y * signed), zero)
    rows = [scale, right, shift_x, down, scale, shift_y, zero, zero]
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=tf.stack(rows, axis=1),
        output_shape=[height, width],
        fill_value=0.0,
        interpolation="NEAREST",
        fill_mode="CONSTANT",
    )


def _blend(images: Any, kinds: Any, signed: Any) -> Any:
    """Blend with black, gray, the mean gray, or a blurred image, or away from them."""
    values = tf.cast(images, tf.float32)
    gray = values
    if images.shape[3] == len(_GRAY):
        weighted = tf.cast(images, tf.int32) * tf.constant(_GRAY)
        rounded = (tf.reduce_sum(weighted, axis=3, keepdims=True) + 0x8000) // 0x10000
        gray = tf.cast(rounded, tf.float32)
    bases = {
        "brightness": tf.zeros_like(values),
        "color": tf.broadcast_to(gray, tf.shape(values)),
        "contrast": tf.broadcast_to(
            tf.round(tf.reduce_mean(gray, axis=[1, 2], keepdims=True)), tf.shape(values)
        ),
        "sharpness": _blur(values),
    }
    base, is_blended = values, tf.zeros_like(kinds, tf.bool)
    for name, found in bases.items():
        base = tf.where(_is(kinds, name)[:, None, None, None], found, base)
        is_blended |= _is(kinds, name)
    share = tf.where(is_blended, 1 + _BLEND * signed, tf.ones_like(signed))[:, None, None, None]
    blended = base + share * (values - base)
    return tf.cast(tf.clip_by_value(tf.round(blended), 0, 255), tf.uint8)


def _blur(values: Any) -> Any:
    """Smooth as Pillow's SMOOTH does; the border stays as it is."""
    height, width, depth = values.shape[1:]
    if min(height, width) < 3:
        return values
    weights = tf.constant([[1.0, 1, 1], [1, 5, 1], [1, 1, 1]])[:, :, None, None] / 13
    kernel = tf.tile(weights, [1, 1, depth, 1])
    inner = tf.round(tf.nn.depthwise_conv2d(values, kernel, [1, 1, 1, 1], "VALID"))
    inner = tf.pad(inner, [[0, 0], [1, 1], [1, 1], [0, 0]])
    rows, columns = tf.range(height), tf.range(width)
    inside_rows = (rows > 0) & (rows < height - 1)
    inside_columns = (columns > 0) & (columns < width - 1)
    inside = inside_rows[:, None] & inside_columns[None]
    return tf.where(inside[None, :, :, None], inner, values)


def _map_values(images: Any, kinds: Any, strength: Any) -> Any:
    """Give each value of each channel another, by a table of 256."""
    count, height, width, depth = images.shape
    pixels = tf.cast(tf.reshape(images, [count, height * width, depth]), tf.int32)
    pixels = tf.reshape(tf.transpose(pixels, [0, 2, 1]), [count * depth, -1])
    levels = tf.range(256)
    bits = 8 - tf.cast(tf.round(strength * (8 - _LEAST_BITS)), tf.int32)
    step = tf.bitwise.left_shift(tf.ones_like(bits), 8 - bits)[:, None]
    limit = tf.cast(tf.round(255 * (1 - strength)), tf.int32)[:, None]
    tables = {
        "posterize": levels // step * step,
        "solarize": tf.where(levels >= limit, 255 - levels, levels),
    }
    table = tf.broadcast_to(levels, [count, 256])
    for name, found in tables.items():
        table = tf.where(_is(kinds, name)[:, None], found, table)
    table = tf.repeat(table, depth, axis=0)
    each = tf.repeat(kinds, depth)
    table = tf.where(_is(each, "autocontrast")[:, None], _stretch(pixels), table)
    table = tf.where(_is(each, "equalize")[:, None], _equalize(pixels), table)
    mapped = tf.reshape(tf.gather(table, pixels, batch_dims=1), [count, depth, height * width])
    mapped = tf.reshape(tf.transpose(mapped, [0, 2, 1]), images.shape)
    return tf.cast(mapped, tf.uint8)


def _stretch(pixels: Any) -> Any:
    """Return tables `[n, 256]` that stretch the values of `[n, pixel]` to 0-255."""
    low = tf.cast(tf.reduce_min(pixels, axis=1, keepdims=True), tf.float32)
    high = tf.cast(tf.reduce_max(pixels, axis=1, keepdims=True), tf.float32)
    levels = tf.range(256, dtype=tf.float32)
    stretched = (levels - low) * 255 / tf.maximum(high - low, 1)
    table = tf.where(high > low, stretched, levels[None])
    return tf.cast(tf.clip_by_value(table, 0, 255), tf.int32)


def _equalize(pixels: Any) -> Any:
    """Return tables `[n, 256]` that spread the values of `[n, pixel]`, as Pillow does."""
    count = pixels.shape[0]
    places = pixels + 256 * tf.range(count)[:, None]
    ones = tf.ones_like(places)
    counts = tf.math.unsorted_segment_sum(
        tf.reshape(ones, [-1]), tf.reshape(places, [-1]), 256 * count
    )
    counts = tf.reshape(counts, [count, 256])
    last = tf.reduce_max(pixels, axis=1)
    of_last = tf.gather(counts, last, batch_dims=1)
    step = (tf.reduce_sum(counts, axis=1) - of_last) // 255
    below = tf.cumsum(counts, axis=1, exclusive=True) + (step // 2)[:, None]
    table = tf.minimum(below // tf.maximum(step, 1)[:, None], 255)
    return tf.where(step[:, None] > 0, table, tf.range(256)[None])
