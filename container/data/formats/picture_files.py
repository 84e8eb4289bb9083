"""Pictures (PNG, JPEG, BMP, GIF): in folders named after their classes, or as the values of records.

A picture gives the same pixels here as in a request to the server: 16 bits are scaled to 8, colors
become the channels that the model takes, an orientation tag is not obeyed, of an animation the
first frame counts.
"""

from __future__ import annotations

import collections
import functools
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from container.data.formats.parts import PART_BYTES, Images, Part, Reading, Shape, Task
from container.errors import UserError

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

SUFFIXES: Final = (".png", ".jpg", ".jpeg", ".bmp", ".gif")
RESIZE_POLICIES: Final = ("refuse", "stretch", "crop", "pad")
_MODES: Final = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
_KINDS: Final = {
    b"\x89PNG": ("PNG", b"IEND"),
    b"\xff\xd8\xff": ("JPEG", b"\xff\xd9"),
    b"GIF8": ("GIF", b""),
    b"BM": ("BMP", b""),
}
"""Of each kind's first bytes: Pillow's name, and the mark of the end where Pillow does not miss it."""
_SAMPLE_PICTURES: Final = 1000
_SLAB_FILES: Final = 256  # a task for each small file would cost more than its decoding

Encoded = tuple[str, str, Callable[[], bytes]]
"""A picture's place for a message, its label, and how to read its bytes."""


def is_picture(head: bytes) -> bool:
    """Tell whether something that begins with `head` is a picture of a known kind."""
    return head.startswith(tuple(_KINDS))


def list_folders(root: Path, paths: Sequence[Path]) -> list[Encoded]:
    """Label each picture with the first directory below `root`, or below the only directory that all are in.

    Raises: UserError if a picture lies in no class's directory.
    """
    parts = [path.relative_to(root).parts for path in paths]
    level = 0
    while len({part[level] for part in parts}) == 1 and all(
        len(part) > level + 2 for part in parts
    ):
        level += 1
    strays = [path for path, part in zip(paths, parts, strict=True) if len(part) < level + 2]
    if strays:
        message = (
            f"{strays[0]} lies in no class's directory; pictures are expected as CLASS/NAME.png below {root}, "
            f"{len(strays)} of {len(paths)} are not"
        )
        raise UserError(message)
    return [
        (str(path), part[level], path.read_bytes) for path, part in zip(paths, parts, strict=True)
    ]


def read(pictures: Iterable[Encoded], reading: Reading) -> Iterator[Task]:
    """Cut pictures into tasks; without `reading.image_shape` a sample of the first thousand tells the shape.

    Raises: UserError if there is no shape that the sample agrees on.
    """
    iterator = iter(pictures)
    sample: list[Encoded] = []
    shape = reading.image_shape
    if shape is None:
        for picture in iterator:
            sample.append(picture)
            if len(sample) == _SAMPLE_PICTURES:
                break
        shape = find_shape(sample, reading.resize)
    slab: list[Encoded] = []
    slab_files = max(1, min(_SLAB_FILES, PART_BYTES // max(1, shape[0] * shape[1] * shape[2])))
    for stage in (sample, iterator):
        for picture in stage:
            slab.append(picture)
            if len(slab) == slab_files:
                yield functools.partial(_decode_slab, slab, shape, reading.resize)
                slab = []
    if slab:
        yield functools.partial(_decode_slab, slab, shape, reading.resize)


def find_shape(sample: Sequence[Encoded], resize: str) -> Shape:
    """Choose the shape of a set by its pictures' headers: their size, and colors if any picture has them.

    Raises: UserError if sizes differ and nothing says how to resize.
    """
    from PIL import Image

    sizes: collections.Counter[tuple[int, int]] = collections.Counter()
    example: dict[tuple[int, int], str] = {}
    is_grey = True
    for name, _, load in sample:
        try:
            with Image.open(io.BytesIO(load())) as picture:
                sizes[picture.height, picture.width] += 1
                example.setdefault((picture.height, picture.width), name)
                is_grey &= _is_grey(picture)
        except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError):
            continue  # decoding it will tell what is wrong
    if not sizes:
        message = (
            f"none of the first {len(sample)} pictures can be read; the first is {sample[0][0]}"
        )
        raise UserError(message)
    (height, width), _ = sizes.most_common(1)[0]
    if len(sizes) > 1 and resize == "refuse":
        other = next(size for size in sizes if size != (height, width))
        message = (
            f"the pictures have {len(sizes)} sizes: {example[height, width]} is {width}x{height}, {example[other]} is "
            f"{other[1]}x{other[0]}; set resize to one of {', '.join(RESIZE_POLICIES[1:])}, and image_shape to the "
            "height, width and channels that the model shall take"
        )
        raise UserError(message)
    return height, width, 1 if is_grey else 3


def decode(content: bytes, shape: Shape, resize: str = "refuse") -> Images:
    """Decode one picture to `shape`.

    Raises: ValueError that says what is wrong with the picture.
    """
    from PIL import Image, UnidentifiedImageError

    height, width, channels = shape
    kind, end = next((_KINDS[magic] for magic in _KINDS if content.startswith(magic)), ("", b""))
    if not kind:
        raise ValueError("not a PNG, JPEG, BMP or GIF picture")
    if end not in content:  # Pillow fills what is missing of some truncated files with black
        raise ValueError("the picture is not whole: the mark of its end is missing")
    try:
        with Image.open(io.BytesIO(content), formats=(kind,)) as opened:
            if opened.size != (width, height) and resize == "refuse":
                message = f"the picture is {opened.size[0]}x{opened.size[1]} pixels, expected {width}x{height}"
                raise ValueError(message)
            picture: Picture = opened
            if opened.mode.startswith(
                "I"
            ):  # Pillow would clip sixteen bits instead of scaling them
                picture = Image.fromarray(
                    (np.asarray(opened).astype(np.uint32) // 257).astype(np.uint8)
                )
            if picture.mode != _MODES[channels]:
                picture = picture.convert(_MODES[channels])
            if picture.size != (width, height):
                picture = _resize(picture, (width, height), resize)
            return np.array(picture, np.uint8).reshape(shape)
    except UnidentifiedImageError:
        message = f"not a whole {kind} picture"
        raise ValueError(message) from None
    except (OSError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        message = f"the picture is damaged: {str(error)[:200]}"
        raise ValueError(message) from error


def _decode_slab(slab: Sequence[Encoded], shape: Shape, resize: str) -> Part:
    images = np.empty((len(slab), *shape), np.uint8)
    labels: list[str] = []
    places, faults = [], []
    for name, label, load in slab:
        try:
            content = load()
            if content:  # an empty object is a folder's marker (IN-11)
                images[len(labels)] = decode(content, shape, resize)
                labels.append(label)
                places.append(name)
        except (OSError, ValueError) as error:
            faults.append(f"{name}: {error}")
    return Part(images[: len(labels)], labels, places.__getitem__, faults)


def _is_grey(picture: Picture) -> bool:
    mode = picture.mode
    if mode == "P" and picture.palette is not None:
        colors = np.frombuffer(bytes(picture.palette.getdata()[1]), np.uint8)
        colors = colors[: len(colors) // 3 * 3].reshape(-1, 3)
        return bool((colors == colors[:, :1]).all())
    return mode in ("1", "L", "LA") or mode.startswith("I")


def _resize(picture: Picture, size: tuple[int, int], policy: str) -> Picture:
    """Resize to `size` = width, height: `stretch` both sides, `crop` the middle, or `pad` with black."""
    from PIL import Image, ImageOps

    if policy == "stretch":
        return picture.resize(size, Image.Resampling.BILINEAR)
    if policy == "crop":
        return ImageOps.fit(picture, size, Image.Resampling.BILINEAR)
    return ImageOps.pad(picture, size, Image.Resampling.BILINEAR)
