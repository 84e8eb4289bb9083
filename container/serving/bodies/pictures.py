"""Images from pictures in PNG, JPEG or BMP.

Rules of this file: a picture of the wrong size is refused by its header, before a pixel is
unpacked; Pillow is imported with the first picture.
"""

import functools
import io
import struct
import warnings
from collections.abc import Callable
from typing import Any, Final, TypeAlias

import numpy as np

from container import contract
from container.data.pictures import ends, geometry
from container.errors import RequestError
from container.serving.bodies import media_types
from container.serving.bodies.pixels import Images

# Of a PNG and a JPEG: cameras and editors write a few dozen, and up to one for 8 kB of pixels. Each
# takes Pillow microseconds, so that those of one request share its budget.
_PIECES_MAXIMUM: Final = 10_000
_PIECES_FREE: Final = 16
_PIECE_BYTES: Final = 256
# Progressive pictures have about ten; each is decoded into all pixels.
_SCANS_MAXIMUM: Final = 50
_START_OF_SCAN: Final = b"\xff\xda"
_HEAD_BYTES_MAXIMUM: Final = 4 << 20  # Pillow joins its Exif data segment by segment
_TEXT_BYTES_MAXIMUM: Final = 1 << 20
_BMP_OTHER_BYTES: Final = 1 << 20  # header, palette, color profile
_ENDS: Final = {"PNG": b"IEND\xaeB`\x82", "JPEG": b"\xff\xd9"}
_KINDS: Final = {media_types.PNG: "PNG", media_types.JPEG: "JPEG", media_types.BMP: "BMP"}
# What Pillow's readers raise for damaged files: none of them checks each length before it is used.
_DAMAGE: Final = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    OSError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
)
_RESIZED_SHARE: Final = 1.9
"""Of the payload limit, for a picture that is resized; the body takes as much as the limit."""

AnyShape: TypeAlias = tuple[int | None, int | None, int | None]
"""Height, width and channels; None is any."""
Charge: TypeAlias = Callable[[int], None]
"""Accounts for bytes that are about to be taken; raises RequestError if they are too many."""


def decode_any(
    body: bytes,
    shape: AnyShape,
    *,
    resize: str = "refuse",
    bytes_maximum: int = contract.REALTIME_PAYLOAD_BYTES,
    charge: Charge | None = None,
) -> Images:
    """Decode one picture into `[1, *shape]`; its first bytes say of which kind it is.

    Raises: RequestError as `decode` does.
    """
    kind = _KINDS.get(media_types.name_picture(body))
    if kind is None:
        message = f"the body begins with {body[:8]!r}; a PNG, JPEG or BMP picture is expected"
        raise RequestError(400, message)
    return decode(kind, body, shape, resize=resize, bytes_maximum=bytes_maximum, charge=charge)


def decode(  # noqa: PLR0913 - each by name
    kind: str,
    body: bytes,
    shape: AnyShape,
    *,
    resize: str = "refuse",
    bytes_maximum: int = contract.REALTIME_PAYLOAD_BYTES,
    charge: Charge | None = None,
) -> Images:
    """Decode one picture of `kind` into `[1, *shape]`.

    A side of None may have any length, and channels of None are those of the picture: 1 if it is
    gray, 4 if it has an alpha channel, else 3. A picture of another size is treated as `resize`
    says, which is what training did. Its orientation tag has no effect, as in training. A picture
    of any size takes at most `bytes_maximum`. `charge` is called with the bytes that it takes while
    it is decoded, before that happens, and may raise.

    Raises: RequestError 400 if it is not a complete picture of `kind` and of this size, or the
    model's channels are not those of a picture; 413 if it takes too much memory.
    """
    from PIL import Image, UnidentifiedImageError

    _limit_pillow()
    if shape[2] not in geometry.MODES and shape[2] is not None:
        message = f"the model takes {shape[2]} channels; a {kind} picture cannot hold them"
        raise RequestError(400, message)
    if _ENDS.get(kind, b"") not in body:  # Pillow fills the rest of some truncated files with black
        message = f"the body is not a {kind} picture or not a complete one: it has no end mark"
        raise RequestError(400, message)
    if ends.has_successor(body):
        message = "another picture follows in the body; send one in each part of a multipart body"
        raise RequestError(400, message)
    piece_bytes = _PIECE_BYTES * max(0, _check_pieces(kind, body) - _PIECES_FREE)
    try:
        with warnings.catch_warnings():
            # Pillow warns of damaged metadata, which no prediction needs.
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(body), formats=[kind]) as picture:
                _check_cost(picture, shape, resize, bytes_maximum)
                if charge is not None:
                    charge(piece_bytes + _count_bytes(picture, shape))
                if kind == "BMP":
                    _check_length(picture.size, len(body))
                return _to_pixels(picture, shape, resize)
    except UnidentifiedImageError:
        raise RequestError(400, f"the body is not a {kind} picture") from None
    except Image.DecompressionBombError:
        raise RequestError(400, f"the picture is far too large; {_expect(shape)}") from None
    except _DAMAGE as error:
        raise RequestError(400, f"the {kind} picture is damaged: {str(error)[:200]}") from None


@functools.cache
def _limit_pillow() -> None:
    """Keep Pillow from unpacking 64 MiB of a PNG's text, which no prediction needs."""
    from PIL import PngImagePlugin

    PngImagePlugin.MAX_TEXT_MEMORY = _TEXT_BYTES_MAXIMUM


def _check_pieces(kind: str, body: bytes) -> int:
    """Count what Pillow reads in Python, and keeps thirty times as large, before the pixels.

    Raises: RequestError 400 if it is too much.
    """
    pieces = 0
    if kind == "PNG":
        pieces = _count_chunks(body)
    elif kind == "JPEG":
        pieces, head_bytes = _count_segments(body)
        if head_bytes > _HEAD_BYTES_MAXIMUM:
            message = f"the JPEG picture has {head_bytes} bytes before its first scan"
            raise RequestError(400, f"{message}; {_HEAD_BYTES_MAXIMUM} are allowed")
        if body.count(_START_OF_SCAN) > _SCANS_MAXIMUM:
            raise RequestError(400, f"the JPEG picture has more than {_SCANS_MAXIMUM} scans")
    if pieces > _PIECES_MAXIMUM:
        raise RequestError(400, f"the {kind} picture has more than {_PIECES_MAXIMUM} pieces")
    return pieces


def _count_chunks(body: bytes) -> int:
    count = 0
    position = 8
    while position < len(body) and count <= _PIECES_MAXIMUM:
        position += 12 + int.from_bytes(body[position : position + 4], "big")
        count += 1
    return count


def _count_segments(body: bytes) -> tuple[int, int]:
    """Count a JPEG's segments before its first scan, and the bytes between and in them."""
    count = 0
    position = 2
    while position < len(body) and count <= _PIECES_MAXIMUM:
        count += 1
        marker = body[position : position + 2]
        if marker == _START_OF_SCAN:
            break
        if marker[:1] != b"\xff" or marker[1:] in (b"\xff", b"\0"):
            position += 1
        elif b"\xd0" <= marker[1:] <= b"\xd9":  # which have no length
            position += 2
        else:
            position += 2 + int.from_bytes(body[position + 2 : position + 4], "big")
    return count, position


def _check_length(size: tuple[int, int], byte_count: int) -> None:
    width, height = size
    if byte_count > _BMP_OTHER_BYTES + 8 * width * height:
        message = f"the BMP picture of {byte_count} bytes has only {width}x{height} pixels"
        raise RequestError(400, message)


def _check_cost(picture: Any, shape: AnyShape, resize: str, bytes_maximum: int) -> None:
    if None in shape[:2]:
        _check_size(picture.size, bytes_maximum)
    elif resize != "refuse":
        _check_memory(picture, shape, bytes_maximum)


def _check_size(size: tuple[int, int], bytes_maximum: int) -> None:
    """Check the size by the header: Pillow takes up to four bytes for each pixel (SEC-6)."""
    width, height = size
    if 4 * width * height > bytes_maximum:
        expected = f"at most {bytes_maximum // 4} pixels are expected"
        raise RequestError(413, f"the picture is {width}x{height} pixels; {expected}")


def _check_memory(picture: Any, shape: AnyShape, bytes_maximum: int) -> None:
    """Check by the header what a picture of any size takes until it has the model's (SEC-6)."""
    if picture.size == (shape[1], shape[0]):
        return
    width, height = picture.size
    taken = _count_bytes(picture, shape)
    limit = int(_RESIZED_SHARE * bytes_maximum)
    if taken > limit:
        message = f"the picture of {width}x{height} pixels takes {taken >> 20} MiB to decode"
        remedy = f"{limit >> 20} MiB are allowed: send a smaller one, or set "
        raise RequestError(413, f"{message}; {remedy}{contract.MAX_PAYLOAD_VARIABLE}")


def _count_bytes(picture: Any, shape: AnyShape) -> int:
    """Return how many bytes a picture takes until it has the model's shape, by the header."""
    width: int
    height: int
    width, height = picture.size
    channels = shape[2] or _count_channels(picture)
    result_bytes = (shape[0] or height) * (shape[1] or width) * channels
    if shape[0] in (None, height) and shape[1] in (None, width):
        return result_bytes
    pixel_bytes = _count_pixel_bytes(picture.mode)
    if picture.mode != geometry.MODES.get(shape[2] or 0):
        pixel_bytes += 4
    if picture.info.get("progressive"):  # all coefficients are kept to the last scan
        pixel_bytes += 6
    return max(width * height * pixel_bytes, result_bytes)


def _count_pixel_bytes(mode: str) -> int:
    if mode in ("1", "L", "P"):
        return 1
    return 8 if mode.startswith("I;16") else 4


def _to_pixels(picture: Any, shape: AnyShape, resize: str) -> Images:
    width, height = picture.size
    fits = shape[0] in (None, height) and shape[1] in (None, width)
    if not fits and resize == "refuse":
        raise RequestError(400, f"the picture is {width}x{height} pixels; {_expect(shape)}")
    channels = shape[2] or _count_channels(picture)
    converted = geometry.convert(picture, channels)
    if not fits:
        height, width = shape[0] or height, shape[1] or width
        converted = geometry.resize(converted, (width, height), resize)
    return np.array(converted, np.uint8).reshape(1, height, width, channels)


def _count_channels(picture: Any) -> int:
    if picture.mode in ("1", "L") or picture.mode.startswith("I"):
        return 1
    return 4 if "A" in picture.mode or "transparency" in picture.info else 3


def _expect(shape: AnyShape) -> str:
    height, width, _ = (side or "any" for side in shape)
    return f"{width}x{height} (width x height) is expected"
