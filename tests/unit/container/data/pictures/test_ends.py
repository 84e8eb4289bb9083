"""A picture behind another one is found, whatever their kinds, and nothing else is."""

import io
import itertools
import random

import numpy as np
import pytest
from PIL import Image

from container.data.pictures import ends

NOISE = np.random.default_rng(7).integers(0, 256, (40, 30, 3), np.uint8)
COLORS = Image.fromarray(NOISE)


def write(kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    COLORS.save(stream, kind, **options)
    return stream.getvalue()


EXIF = Image.Exif()
EXIF[0x010F] = "camera"
EXIF.get_ifd(34665)[0x927C] = b"makernote" * 30
MORE = {"save_all": True, "append_images": [COLORS.rotate(180)]}
PICTURES = {
    "png": write("PNG"),
    "apng": write("PNG", **MORE),
    "jpeg": write("JPEG"),
    "progressive": write("JPEG", progressive=True),
    "camera": write("JPEG", exif=EXIF),
    "bmp": write("BMP"),
    "webp": write("WEBP"),
    "odd webp": next(
        content for quality in range(99) if (content := write("WEBP", quality=quality))[4] % 2 == 0
    ),
    "gif": write("GIF"),
    "animated gif": write("GIF", comment=b"of two frames", **MORE),
    "tiff": write("TIFF"),
    "big tiff": write("TIFF", big_tiff=True),
    "pages": write("TIFF", compression="tiff_lzw", exif=EXIF, **MORE),
    "tiff of a jpeg": write("TIFF", compression="jpeg"),
}


@pytest.mark.parametrize(("first", "second"), list(itertools.product(PICTURES, PICTURES)))
def test_two_pictures_in_one_file_are_told_from_one(first: str, second: str) -> None:
    one, other = PICTURES[first], PICTURES[second]
    assert not ends.has_successor(one)
    is_preview = first == "camera" and second in ("jpeg", "progressive")
    for padding in (b"", b"\n", bytes(3)):
        assert ends.has_successor(one + padding + other) != is_preview


def test_what_a_camera_appends_is_part_of_its_picture() -> None:
    assert not ends.has_successor(write("MPO", **MORE))
    assert not ends.has_successor(PICTURES["camera"] + PICTURES["jpeg"])


@pytest.mark.parametrize("kind", PICTURES)
def test_other_content_after_a_picture_is_none(kind: str) -> None:
    for rest in (bytes(99), b"\n", b"BM", b"trailer", b"\xff\xd9" * 3):
        assert not ends.has_successor(PICTURES[kind] + rest)


@pytest.mark.parametrize("kind", PICTURES)
def test_damage_ends_the_search(kind: str) -> None:
    content = PICTURES[kind]
    chance = random.Random(3)  # noqa: S311 - damage, not secrets
    for _ in range(200):
        damaged = bytearray(content[: chance.randrange(4, len(content))])
        damaged[chance.randrange(4, len(damaged) + 4) - 4] ^= 1 << chance.randrange(8)
        ends.has_successor(bytes(damaged))
    assert not ends.has_successor(content[:4])


@pytest.mark.parametrize(
    "content",
    [
        # As many directories as fit, each at the next byte and as long as it can be.
        b"II*\0\x08\0\0\0" + b"\xff\x0f" * 100_000,
        b"GIF89a" + bytes(7) + b"\x21\xf9" + b"\1\0" * 10 + b"\1\1" * 300_000,
    ],
)
def test_a_hostile_picture_has_no_known_end(content: bytes) -> None:
    assert not ends.has_successor(content + PICTURES["png"])
