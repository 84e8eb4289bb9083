"""Which images an array holds: its axes must be height, width and channels, in this order."""

import math
from collections.abc import Sequence
from typing import Any, Final

from numpy.typing import NDArray

from container.errors import UserError

Shape = tuple[int, int, int]

_CHANNEL_COUNTS: Final = (1, 3, 4)


def find_shape(name: str, found: tuple[int, ...], wanted: Shape | None) -> Shape:
    """Return height, width and channels of the images of an array, each of the shape `found`.

    `wanted` is the shape that the job asks for, or None. Without it, flat images are square and
    gray. Axes of length 1 may be anywhere: they do not move pixels.

    Raises: UserError if the images have another shape or no pixels, or their channels come first.
    """
    if not math.prod(found):
        raise UserError(f"{name} holds images of shape {list(found)}, which have no pixels")
    hint = f", expected {list(wanted)}" if wanted else ""
    if wanted and math.prod(found) == math.prod(wanted):
        if len(found) == 1 or _squeeze(found) == _squeeze(wanted):
            return wanted
    elif not wanted and not _has_channels_first(found):
        shape = _complete(found)
        if len(shape) == 3 and math.prod(shape) == math.prod(found):
            return shape
        hint = "; set image_shape to height, width and channels"
    if _has_channels_first(found):
        hint += "; the channels come first: save images.transpose(0, 2, 3, 1)"
    raise UserError(f"{name} holds images of shape {list(found)}{hint}")


def flatten_labels(labels: NDArray[Any], name: str, shape: tuple[int, ...]) -> NDArray[Any]:
    """Return `[image]` labels of images of this shape.

    Raises: UserError if there is not one label per image.
    """
    if labels.ndim and labels.size == len(labels):
        labels = labels.reshape(len(labels))
    if labels.ndim != 1 or len(shape) < 2 or len(labels) != shape[0]:
        raise UserError(
            f"{name} has the shape {list(shape)} and its labels {list(labels.shape)}; expected one "
            "label per image, a number or text; save labels.argmax(axis=1) if they are one-hot"
        )
    return labels


def _complete(found: tuple[int, ...]) -> tuple[int, ...]:
    """Return height, width and channels of one image, of which `found` may lack the last ones."""
    if len(found) == 1:
        side = math.isqrt(found[0])
        return (side, side, 1)
    if len(found) == 2:
        return (*found, 1)
    if len(found) == 3 and found[0] == 1 and found[2] not in _CHANNEL_COUNTS:
        return (*found[1:], 1)  # gray images of PyTorch, whose pixels come in the same order
    return found


def _has_channels_first(found: Sequence[int]) -> bool:
    """Return whether images have three or four channels before height and width, as in PyTorch."""
    return len(found) == 3 and found[0] in _CHANNEL_COUNTS[1:] and found[2] not in _CHANNEL_COUNTS


def _squeeze(shape: Sequence[int]) -> list[int]:
    return [length for length in shape if length != 1]
