"""Nested arrays of numbers in JSON, parsed without a list for each array.

Python makes an object of every array, and numpy looks at each again. Where all images of a block
have the nesting that is expected, its brackets say nothing: only the numbers are parsed.

Rules of this file: pure; what is unusual or wrong is declined, and the caller finds out what it is.
"""

import functools
import json
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

_SPACE: Final = b" \t\n\r"
_DIGITS: Final = bytes.maketrans(b"123456789+-.eE", b"0" * 14)


def parse(text: bytes, depth: int, shape: tuple[int, int, int]) -> NDArray[Any] | None:
    """Parse images that are nested in `depth` arrays, separated by commas, into `[n, pixels]`.

    Returns None if they are nested in another way, or something is not a number.
    """
    if depth == 2 and shape[2] > 1:
        return None
    drawn = text.translate(_DIGITS, _SPACE)
    if b"0[" in drawn or b"]0" in drawn:  # a number beside an array
        return None
    brackets = drawn.translate(None, b"0")
    image = _draw_image(depth, shape)
    count = (len(brackets) + 1) // (len(image) + 1)
    if brackets != b",".join([image] * count):
        return None
    has_fractions = any(mark in text for mark in (b".", b"e", b"E"))
    dtype: Any = np.float64 if has_fractions else np.int64
    try:
        numbers = json.loads(b"[" + text.translate(None, b"[]") + b"]")
        return np.fromiter(numbers, dtype, len(numbers)).reshape(count, -1)
    except (ValueError, OverflowError, RecursionError):
        return None


@functools.lru_cache(maxsize=64)
def _draw_image(depth: int, shape: tuple[int, int, int]) -> bytes:
    """Draw the brackets and commas of one image."""
    height, width, channels = shape
    sizes = {
        1: [height * width * channels],
        2: [width * channels, height],
        3: [channels, width, height],
    }[depth]
    drawn = b""
    for size in sizes:
        drawn = b"[" + b",".join([drawn] * size) + b"]"
    return drawn
