"""Pictures for models whose input is one: as they are, or as bytes inside JSON.

Pixels are 0-255 as they come, in the order of the model's axes.
"""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from container.errors import RequestError
from container.serving.bodies import media_types, pictures
from container.serving.bodies.content_encoding import Expansion
from container.serving.records import counts
from container.serving.third_party.signature import TEXT, Arrays, Shape, Signature, Tensor, Tensors

TYPES: Final = tuple(sorted(media_types.PICTURES))
"""Media types of a picture; its first bytes say of which kind it is."""


def decode(body: bytes, model: Signature, bytes_maximum: int) -> NDArray[Any]:
    """Decode a body that is one picture into a batch of one.

    Raises: RequestError 415 if the model takes no pictures, 400 if the body is not one that it
    takes, 413 if it is larger than `bytes_maximum` in memory.
    """
    tensors = model.tensors if isinstance(model, Tensors) else ()
    if len(tensors) != 1 or not _takes_pictures(tensors[0]):
        shapes = [list(tensor.shape or ()) for tensor in tensors]
        raise RequestError(415, f"this model takes no pictures: the shape of its input is {shapes}")
    if tensors[0].dtype == TEXT:
        return np.array([body], dtype=TEXT)
    return _decode(body, tensors[0], bytes_maximum)


def unpack(data: Arrays, model: Signature, bytes_maximum: int) -> Arrays:
    """Decode bytes in JSON for inputs that are pictures; inputs of text take bytes as they are.

    Raises: RequestError as `decode` does.
    """
    if not isinstance(model, Tensors):
        return data
    if isinstance(data, Mapping):
        by_name = {tensor.name: tensor for tensor in model.tensors}
        return {
            name: _unpack(array, by_name.get(name), bytes_maximum) for name, array in data.items()
        }
    return _unpack(data, model.tensors[0], bytes_maximum)


def _unpack(array: NDArray[Any], tensor: Tensor | None, bytes_maximum: int) -> NDArray[Any]:
    if array.dtype != TEXT or tensor is None or tensor.dtype == TEXT:
        return array
    if array.ndim != 1 or not all(isinstance(value, bytes) for value in array):
        return array
    if not _takes_pictures(tensor):
        message = f"the input {tensor.name!r} does not take bytes: its shape is {tensor.shape}"
        raise RequestError(400, message)
    counts.check_parts(len(array), "pictures")
    expansion = Expansion(bytes_maximum)
    decoded = [_decode(picture, tensor, expansion.room, expansion.take) for picture in array]
    if len({picture.shape for picture in decoded}) > 1:
        raise RequestError(400, "the pictures of one request must have the same size")
    return np.concatenate(decoded)


def _takes_pictures(tensor: Tensor) -> bool:
    shape = tensor.instance_shape
    if tensor.dtype == TEXT:
        return shape in ((), (1,))
    return shape is not None and len(shape) == 3 and (shape[2] in (1, 3) or shape[0] in (1, 3))


def _decode(
    body: bytes, tensor: Tensor, bytes_maximum: int, charge: pictures.Charge | None = None
) -> NDArray[Any]:
    height, width, channels = _find_sides(tensor.instance_shape or ())
    sides = (height, width, channels or 3)
    size = (height or 0) * (width or 0) * sides[2]
    if size > bytes_maximum:
        raise RequestError(413, "the pictures of the request are larger in memory than its limit")
    pixels = pictures.decode_any(body, sides, bytes_maximum=bytes_maximum, charge=charge)
    if _is_channel_first(tensor.instance_shape or ()):
        return np.moveaxis(pixels, 3, 1)
    return pixels


def _is_channel_first(shape: Shape) -> bool:
    return shape[2] not in (1, 3)


def _find_sides(shape: Shape) -> Shape:
    """Return height, width and channels."""
    if _is_channel_first(shape):
        return (shape[1], shape[2], shape[0])
    return shape
