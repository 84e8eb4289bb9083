"""From a picture of any size and color to the pixels of a model: the same in training and serving.

Sixteen bits are scaled to eight, colors and inks become the channels that the model takes, and an
orientation tag has no effect: the pixels count as they are stored.

Rules of this file: Pillow is imported with the first picture.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

MODES: Final = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
"""By the number of channels: Pillow's mode."""
POLICIES: Final = ("refuse", "stretch", "pad", "crop")
"""What may be done with a picture of another size."""


def convert(picture: Picture, channels: int) -> Picture:
    """Convert to 8 bits and the channels of the images.

    Raises: ValueError if the picture has more than 16 bits per value.
    """
    from PIL import Image

    if picture.mode in ("I", "F"):
        raise ValueError("the picture has more than 16 bits per value; expected 8 or 16")
    if picture.mode.startswith("I;16"):  # Pillow would clip 16 bits instead of scaling them
        scaled = np.asarray(picture).astype(np.uint32) // 257
        picture = Image.fromarray(scaled.astype(np.uint8))
    if channels in (1, 3):  # transparency has no effect on the others; Pillow would warn
        picture.info.pop("transparency", None)
    return picture if picture.mode == MODES[channels] else picture.convert(MODES[channels])


def resize(picture: Picture, size: tuple[int, int], policy: str) -> Picture:
    """Resize to width and height: `stretch` both sides, `crop` the center, or `pad` with black."""
    from PIL import Image, ImageOps

    if policy == "stretch":
        return picture.resize(size, Image.Resampling.BILINEAR)
    if policy == "crop":
        return ImageOps.fit(picture, size, Image.Resampling.BILINEAR)
    return ImageOps.pad(picture, size, Image.Resampling.BILINEAR)
