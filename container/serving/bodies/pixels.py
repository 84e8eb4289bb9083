"""The rules for pixel values and for the shapes of arrays that hold images.

Pixels are 0-255. A row that holds a fraction and lies within 0-1 throughout is taken as unit scale,
for clients that divide by 255; any other fraction is refused.

Rules of this file: pure; every fault is a RequestError that names row and column, counted from 1.
"""

import json
import math
from collections.abc import Iterator
from typing import Any, Final, NoReturn, TypeAlias

import numpy as np
from numpy.typing import NDArray

from container.errors import RequestError

Images: TypeAlias = NDArray[np.uint8]
"""`[n, height, width, channel] uint8 0-255`"""
Shape: TypeAlias = tuple[int, int, int]
"""Height, width and channels of one image."""

_BLOCK_PIXELS: Final = 131_072
"""Scaling takes up to 33 bytes for a pixel, so it goes by blocks (SEC-6)."""

TWO_FORMS: Final = (
    "pixels are integers 0-255, or fractions 0-1 throughout a row (each pixel divided by 255)"
)


def from_array(array: NDArray[Any], shape: Shape, first_row: int = 1) -> Images:
    """Check and scale `[n, pixels]`, `[n, *shape]`, or for one channel `[n, height, width]`.

    Errors count rows from `first_row`.

    Raises: RequestError 400 for another shape, no image, or a value that is not a pixel.
    """
    count = len(array) if array.ndim else 0
    possible = [(count, math.prod(shape)), (count, *shape)]
    if shape[2] == 1:
        possible.append((count, *shape[:2]))
    if array.shape not in possible:
        message = f"an array of shape {list(array.shape)} was found"
        raise RequestError(400, f"{message}; {describe_shapes(shape)} is expected")
    if not count:
        expected = f"{describe_shapes(shape)} with n of at least 1"
        raise RequestError(400, f"the array holds no image; {expected} is expected")
    if array.dtype == np.uint8:
        return np.ascontiguousarray(array).reshape(-1, *shape)
    return scale(array.reshape(count, -1), first_row).reshape(-1, *shape)


def from_lists(
    instances: list[Any], shape: Shape, first_row: int = 1, *, are_numbers: bool = False
) -> Images:
    """Check and scale nested lists, parsed from JSON, as `from_array` does.

    With `are_numbers` it is known that they hold nothing else.

    Raises: RequestError 400 as `from_array` does, also for values that are not numbers.
    """
    if not instances:
        expected = f"{describe_shapes(shape)} is expected"
        raise RequestError(400, f"the array of images is empty; {expected}")
    if not are_numbers:  # numpy would take true for 1
        _refuse_other_than_numbers(instances, first_row)
    try:
        array = np.array(instances)
    except (ValueError, OverflowError):
        array = np.empty(0, object)
    if array.dtype.kind not in "iuf":
        _refuse_nesting(instances, shape, first_row)
    return from_array(array, shape, first_row)


def scale(array: NDArray[Any], first_row: int = 1) -> Images:
    """Turn rows of numbers `[n, pixels]` into uint8; errors count rows from `first_row`.

    Raises: RequestError 400 for a value that is not a pixel.
    """
    if array.size <= _BLOCK_PIXELS:
        return _scale_block(array, first_row).astype(np.uint8)
    step = max(1, _BLOCK_PIXELS // array.shape[1])
    blocks = (
        (slice(start, start + step), array[start : start + step])
        for start in range(0, len(array), step)
    )
    if array.dtype == np.int8:  # the bytes that pass are the pixels
        for rows, block in blocks:
            _scale_block(block, first_row + rows.start)
        return array.view(np.uint8)
    scaled = np.empty(array.shape, np.uint8)
    for rows, block in blocks:
        scaled[rows] = _scale_block(block, first_row + rows.start)
    return scaled


def _scale_block(array: NDArray[Any], first_row: int) -> NDArray[Any]:
    """Return the pixels, which are whole numbers 0-255, in the type that they were computed in."""
    wrong = ~((array >= 0) & (array <= 255))  # true for NaN as well
    if wrong.any():
        _refuse_pixel(array, wrong, first_row, "")
    if array.dtype.kind == "f":
        fractional = array != np.floor(array)
        in_fractions = fractional.any(axis=1)
        if in_fractions.any():
            unit = in_fractions & (array <= 1).all(axis=1)
            wrong = fractional & ~unit[:, None]
            if wrong.any():
                _refuse_pixel(array, wrong, first_row, " in a row that reaches beyond 1")
            array = array.astype(np.float64)
            array[unit] = np.rint(array[unit] * 255)
    return array


def _refuse_pixel(
    array: NDArray[Any], wrong: NDArray[np.bool_], first_row: int, where: str
) -> NoReturn:
    row, column = np.argwhere(wrong)[0].tolist()
    place = f"row {first_row + row}, column {column + 1}"
    raise RequestError(400, f"{place} is {array[row, column]:g}{where}; {TWO_FORMS}")


def _refuse_other_than_numbers(instances: list[Any], first_row: int) -> None:
    for row, instance in enumerate(instances, start=first_row):
        values = list(_flatten(instance))
        if {int, float}.issuperset(map(type, values)):
            continue
        for column, value in enumerate(values, start=1):
            if type(value) not in (int, float):
                found = quote(value) if isinstance(value, str) else json.dumps(value)[:40]
                raise RequestError(400, f"row {row}, column {column} is {found}; {TWO_FORMS}")


def _refuse_nesting(instances: list[Any], shape: Shape, first_row: int) -> NoReturn:
    columns = math.prod(shape)
    for row, instance in enumerate(instances, start=first_row):
        values = list(_flatten(instance))
        if len(values) != columns:
            message = f"row {row} has {len(values)} values; {columns} pixels are expected"
            raise RequestError(400, message)
        for column, value in enumerate(values, start=1):
            if abs(value) > 255:
                raise RequestError(400, f"row {row}, column {column} is out of range; {TWO_FORMS}")
    expected = f"{describe_shapes(shape)} is expected"
    raise RequestError(400, f"the images are nested in different ways; {expected}")


def _flatten(value: Any) -> Iterator[Any]:
    stack = [value]
    while stack:
        item = stack.pop()
        if not isinstance(item, list):
            yield item
        elif list in map(type, item):
            stack.extend(reversed(item))
        else:
            yield from item


def describe_shapes(shape: Shape) -> str:
    """Name the shapes that an array of images may have."""
    height, width, channels = shape
    described = f"[n, {math.prod(shape)}] or [n, {height}, {width}, {channels}]"
    return described + (f" or [n, {height}, {width}]" if channels == 1 else "")


def quote(text: str) -> str:
    """Quote a client's text for an error message, cut so that there is room for the rest (RQ-6)."""
    return repr(text if len(text) <= 40 else text[:40] + "...")
