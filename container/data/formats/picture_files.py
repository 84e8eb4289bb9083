"""Pictures: PNG, JPEG, WebP, GIF, TIFF and BMP, in files or in records.

A picture has the same pixels here as in a request to the server: 16 bits are scaled to 8, colors
and inks become the channels that the model takes, an orientation tag is ignored, and of several
frames or pages the first one counts.
"""

from __future__ import annotations

import collections
import contextlib
import functools
import io
import itertools
import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

from container.data.formats.parts import (
    PART_BYTES,
    DecodingTask,
    Images,
    Options,
    Shape,
    Task,
    Unpacked,
)
from container.data.pictures import ends, geometry
from container.errors import UserError

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

SUFFIXES: Final = (".png", ".jpg", ".jpeg", ".jfif", ".webp", ".gif", ".tif", ".tiff", ".bmp")
_KINDS: Final = {
    "PNG": re.compile(rb"\x89PNG"),
    "JPEG": re.compile(rb"\xff\xd8\xff"),
    "WEBP": re.compile(rb"RIFF....WEBP", re.DOTALL),
    "GIF": re.compile(rb"GIF8"),
    "TIFF": re.compile(rb"II[*+]\0|MM\0[*+]"),
    "BMP": re.compile(rb"BM"),
}
"""By Pillow's name of the format: its first bytes."""
_ENDS: Final = {"PNG": b"IEND", "JPEG": b"\xff\xd9"}  # end markers whose absence Pillow accepts
_SAMPLE_PICTURES: Final = 1000
_SLAB_FILES: Final = 256  # one task per small file would cost more than decoding it
_MEASURED_PICTURES: Final = 8  # of which the longest decides how many a task may hold

Encoded = tuple[str, str, Callable[[], bytes]]
"""The place of a picture for messages, its label, and a function that reads its bytes."""


def is_picture(head: bytes) -> bool:
    """Return whether `head`, 12 bytes or more, begins a picture."""
    return bool(_find_kind(head))


def read(pictures: Iterable[Encoded], options: Options) -> Iterator[Task]:
    """Cut pictures into tasks; without `image_shape` the first thousand pictures decide the shape.

    Raises: UserError if these have several sizes.
    """
    iterator = iter(pictures)
    sample: list[Encoded] = []
    shape = options.image_shape
    if shape is None:
        sample = list(itertools.islice(iterator, _SAMPLE_PICTURES))
        if not sample:
            return
        shape = find_shape(sample, options.resize)
    if not sample:
        sample = list(itertools.islice(iterator, _MEASURED_PICTURES))
    _note_frames(sample[:_MEASURED_PICTURES], options.note)
    picture_bytes = max(math.prod(shape), _measure(sample[:_MEASURED_PICTURES]), 1)
    slab_files = max(1, min(_SLAB_FILES, PART_BYTES // picture_bytes))
    remaining = itertools.chain(sample, iterator)
    while slab := list(itertools.islice(remaining, slab_files)):
        decode_one = functools.partial(decode, shape=shape, resize=options.resize)
        yield DecodingTask(functools.partial(_unpack, slab), decode_one, shape)


def _note_frames(pictures: Sequence[Encoded], note: Callable[[str], object]) -> None:
    """Report which pictures have several frames or pages, of which only the first is taken."""
    from PIL import Image

    names = []
    faults = (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError)
    for name, _, load in pictures:
        with contextlib.suppress(*faults), Image.open(io.BytesIO(load())) as picture:
            if picture.format in _KINDS and getattr(picture, "is_animated", False):
                names.append(name)
    if names:
        note(
            f"passed over all frames and pages but the first one of pictures such as {names[0]} "
            f"({len(names)} of the first {len(pictures)})"
        )


def _measure(pictures: Sequence[Encoded]) -> int:
    """Return the bytes of the longest picture; 0 if none can be read."""
    longest = 0
    for _, _, load in pictures:
        with contextlib.suppress(OSError):
            longest = max(longest, len(load()))
    return longest


def find_shape(sample: Sequence[Encoded], resize: str) -> Shape:
    """Choose the shape of a set by the headers of pictures: the most common size, color if any is.

    Raises: UserError if sizes differ and `resize` is `refuse`, or no picture can be read.
    """
    from PIL import Image

    sizes: collections.Counter[tuple[int, int]] = collections.Counter()
    example: dict[tuple[int, int], str] = {}
    is_grey = True
    reason = ""
    for name, _, load in sample:
        try:
            with Image.open(io.BytesIO(load())) as picture:
                sizes[picture.height, picture.width] += 1
                example.setdefault((picture.height, picture.width), name)
                is_grey &= _is_grey(picture)
        except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
            reason = reason or str(error)  # of others, decoding them will report it
    if not sizes:
        raise UserError(
            f"none of the first {len(sample)} pictures can be read, such as {sample[0][0]}: "
            f"{reason}"
        )
    (height, width), _ = sizes.most_common(1)[0]
    if len(sizes) > 1 and resize == "refuse":
        other = next(size for size in sizes if size != (height, width))
        raise UserError(
            f"the pictures have {len(sizes)} sizes: {example[height, width]} is {width}x{height}, "
            f"{example[other]} is {other[1]}x{other[0]}; set resize to one of stretch, crop, pad, "
            "and image_shape to the height, width and channels of the model"
        )
    return height, width, 1 if is_grey else 3


def decode(content: bytes, shape: Shape, resize: str = "refuse") -> Images:
    """Decode one picture to `shape`. Raises: ValueError with the fault of the picture."""
    from PIL import Image, UnidentifiedImageError

    height, width, channels = shape
    kind = _find_kind(content)
    if not kind:
        raise ValueError("not a PNG, JPEG, WebP, GIF, TIFF or BMP picture")
    if (
        _ENDS.get(kind, b"") not in content
    ):  # Pillow fills the rest of some truncated pictures with black
        raise ValueError("the picture is truncated: its end marker is missing")
    try:
        with Image.open(io.BytesIO(content), formats=(kind,)) as opened:
            if opened.size != (width, height) and resize == "refuse":
                found = "x".join(map(str, opened.size))
                raise ValueError(f"the picture is {found} pixels, expected {width}x{height}")
            picture = geometry.convert(opened, channels)
            if picture.size != (width, height):
                picture = geometry.resize(picture, (width, height), resize)
            return np.array(picture, np.uint8).reshape(shape)
    except UnidentifiedImageError:
        raise ValueError(f"not a complete {kind} picture") from None
    except Image.DecompressionBombError:
        limit = 2 * (Image.MAX_IMAGE_PIXELS or 0)
        raise ValueError(f"the picture has more than {limit:,} pixels; make it smaller") from None
    except (OSError, SyntaxError, EOFError) as error:
        raise ValueError(f"the picture is damaged: {str(error)[:200]}") from error


def load_bytes(content: bytes, fault: str) -> bytes:
    """Return the content of a record. Raises: OSError if it has a fault."""
    if fault:
        raise OSError(fault)
    return content


def _find_kind(head: bytes) -> str:
    """Return Pillow's name of the format that begins with `head`; "" if it is none of ours."""
    return next((kind for kind, magic in _KINDS.items() if magic.match(head)), "")


def _unpack(slab: Sequence[Encoded]) -> Unpacked:
    unpacked = Unpacked()
    for name, label, load in slab:
        try:
            content = load()
        except OSError as error:
            unpacked.faults.append(f"{name}: {error}")
            continue
        if not content:
            unpacked.faults.append(f"{name}: it is empty")
            continue
        if ends.has_successor(content):
            unpacked.faults.append(f"{name}: another picture follows in it")
            continue
        unpacked.contents.append(content)
        unpacked.labels.append(label)
        unpacked.places.append(name)
    return unpacked


def _is_grey(picture: Picture) -> bool:
    mode = picture.mode
    if mode == "P" and picture.palette is not None:
        colors = np.frombuffer(bytes(picture.palette.getdata()[1]), np.uint8)
        colors = colors[: len(colors) // 3 * 3].reshape(-1, 3)
        return bool((colors == colors[:, :1]).all())
    return mode in ("1", "L", "LA") or mode.startswith("I")
