"""Images from pictures in PNG, JPEG or BMP.

Rules of this file: a picture of the wrong size is refused by its header, before a pixel is
unpacked; Pillow is imported with the first picture.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from container import contract
from container.errors import RequestError
from container.serving.bodies.pixels import Images

_ENDS: Final = {"PNG": b"IEND\xaeB`\x82", "JPEG": b"\xff\xd9"}
_MODES: Final = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}


def decode(
    kind: str,
    body: bytes,
    shape: tuple[int | None, int | None, int],
    _: Mapping[str, str] | None = None,
    *,
    bytes_maximum: int = contract.REALTIME_PAYLOAD_BYTES,
) -> Images:
    """Decode one picture of `kind` into `[1, *shape]`.

    A side of None may have any length, as long as the picture takes at most `bytes_maximum`.

    Raises: RequestError 400 if it is not a complete picture of `kind` and of this size, or the
    model's channels are not those of a picture.
    """
    from PIL import Image, UnidentifiedImageError

    if shape[2] not in _MODES:
        message = f"the model takes {shape[2]} channels; a {kind} picture cannot hold them"
        raise RequestError(400, message)
    if _ENDS.get(kind, b"") not in body:  # Pillow fills the rest of some truncated files with black
        message = f"the body is not a {kind} picture or not a complete one: it has no end mark"
        raise RequestError(400, message)
    try:
        with warnings.catch_warnings():
            # Pillow warns of damaged metadata, which no prediction needs.
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(body), formats=[kind]) as picture:
                if None in shape:
                    _check_size(picture.size, bytes_maximum)
                return _to_pixels(picture, shape)
    except UnidentifiedImageError:
        raise RequestError(400, f"the body is not a {kind} picture") from None
    except Image.DecompressionBombError:
        raise RequestError(400, f"the picture is far too large; {_expect(shape)}") from None
    except (OSError, ValueError, SyntaxError, EOFError) as error:
        raise RequestError(400, f"the {kind} picture is damaged: {str(error)[:200]}") from None


def _check_size(size: tuple[int, int], bytes_maximum: int) -> None:
    """Check the size by the header: Pillow takes up to four bytes for each pixel (SEC-6)."""
    width, height = size
    if 4 * width * height > bytes_maximum:
        expected = f"at most {bytes_maximum // 4} pixels are expected"
        raise RequestError(413, f"the picture is {width}x{height} pixels; {expected}")


def _to_pixels(picture: Any, shape: tuple[int | None, int | None, int]) -> Images:
    from PIL import Image

    width, height = picture.size
    if shape[0] not in (None, height) or shape[1] not in (None, width):
        raise RequestError(400, f"the picture is {width}x{height} pixels; {_expect(shape)}")
    if picture.mode.startswith("I;16"):  # Pillow would clip sixteen bits instead of scaling them
        eight_bits = np.asarray(picture).astype(np.uint32) // 257
        picture = Image.fromarray(eight_bits.astype(np.uint8))
    pixels = np.array(picture.convert(_MODES[shape[2]]), np.uint8)
    return pixels.reshape(1, height, width, shape[2])


def _expect(shape: tuple[int | None, int | None, int]) -> str:
    height, width, _ = (side or "any" for side in shape)
    return f"{width}x{height} (width x height) is expected"
