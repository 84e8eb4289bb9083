"""Which pictures TensorFlow decodes to the pixels that Pillow makes of them, by their headers."""

import struct
import zlib
from typing import Final

from container.data.formats.parts import Shape

_PNG_HEAD: Final = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
_PNG_END: Final = b"\0\0\0\0IEND\xaeB`\x82"
_JPEG_HEAD: Final = b"\xff\xd8\xff"
_JPEG_END: Final = b"\xff\xd9"
_PNG_HEADER: Final = struct.Struct(">IIBB")  # width, height, bits of a value, color type
_JPEG_HEADER: Final = struct.Struct(">HHB")  # height, width, channels
_JPEG_FRAMES: Final = (0xC0, 0xC1, 0xC2)
"""Markers of frames that all decoders read: baseline, extended and progressive."""
_PNG_KINDS: Final = {1: (0, 4), 3: (0, 2, 3, 4, 6)}
"""By the channels of the images: the color types that are decoded to them as Pillow does."""


def find_kind(content: object, shape: Shape) -> str:
    """Return `jpeg` or `png` if TensorFlow makes of this picture what Pillow does; else "".

    A picture that is damaged after its headers may be among them.
    """
    if not isinstance(content, bytes) or shape[2] not in _PNG_KINDS:
        return ""
    if content.startswith(_JPEG_HEAD) and content.endswith(_JPEG_END):
        return "jpeg" if _is_jpeg_of(content, shape) else ""
    if content.startswith(_PNG_HEAD) and content.endswith(_PNG_END):
        return "png" if _is_png_of(content, shape) else ""
    return ""


def _is_jpeg_of(content: bytes, shape: Shape) -> bool:
    height, width, channels = _find_jpeg_shape(content)
    # Pillow has its own ways from color to gray, and from four inks to colors.
    return (height, width) == shape[:2] and channels in (1, shape[2])


def _is_png_of(content: bytes, shape: Shape) -> bool:
    width, height, bits, kind = _PNG_HEADER.unpack_from(content, len(_PNG_HEAD))
    if (height, width) != shape[:2] or bits > 8 or kind not in _PNG_KINDS[shape[2]]:
        return False
    return _is_intact(content)


def _find_jpeg_shape(jpeg: bytes) -> Shape:
    """Return height, width and channels from the frame header; zeros if there is none."""
    start = 2
    while jpeg[start : start + 1] == b"\xff" and start + 10 <= len(jpeg):
        if jpeg[start + 1] in _JPEG_FRAMES:
            height, width, channels = _JPEG_HEADER.unpack_from(jpeg, start + 5)
            return height, width, channels
        start += 2 + int.from_bytes(jpeg[start + 2 : start + 4], "big")
    return 0, 0, 0


def _is_intact(png: bytes) -> bool:
    """Return whether each chunk but those of pixels has the right checksum, as Pillow demands."""
    start = 8
    while start < len(png):
        size = int.from_bytes(png[start : start + 4], "big")
        end = start + 8 + size
        is_pixels = png[start + 4 : start + 8] == b"IDAT"
        checksum = int.from_bytes(png[end : end + 4], "big")
        if not is_pixels and zlib.crc32(png[start + 4 : end]) != checksum:
            return False
        start = end + 4
    return start == len(png)
