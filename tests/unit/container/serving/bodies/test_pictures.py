"""PNG, JPEG and BMP to images; the oracle is Pillow."""

import io
import itertools
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFile

from container.errors import RequestError
from container.serving.bodies import pictures
from tests.unit.container.serving.bodies.request_bodies import IMAGES, decode, refusal, save


def to_picture(array: Any, kind: str = "PNG", **options: Any) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, kind, **options)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("picture", "shape", "expected"),
    [
        (np.arange(6, dtype=np.uint8).reshape(2, 3), (2, 3, 1), np.arange(6)),
        (np.arange(18, dtype=np.uint8).reshape(2, 3, 3), (2, 3, 3), np.arange(18)),
        (np.full((2, 3), 7, np.uint8), (2, 3, 3), np.full(18, 7)),
        (np.full((2, 3, 3), 7, np.uint8), (2, 3, 1), np.full(6, 7)),
        (np.arange(24, dtype=np.uint8).reshape(2, 3, 4), (2, 3, 4), np.arange(24)),
        (np.arange(6, dtype=np.uint16).reshape(2, 3) * 257, (2, 3, 1), np.arange(6)),
    ],
)
def test_png_decodes_to_the_channels_of_the_model(
    picture: Any, shape: tuple[int, int, int], expected: Any
) -> None:
    assert decode("image/png", to_picture(picture), shape).ravel().tolist() == expected.tolist()


def test_jpeg_decodes_close_to_the_picture() -> None:
    picture = np.full((8, 8), 100, np.uint8)

    assert (
        np.abs(decode("image/jpeg", to_picture(picture, "JPEG"), (8, 8, 1)).astype(int) - 100).max()
        <= 2
    )


def bomb_png(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(bytes(10**6)))
        + chunk(b"IEND", b"")
    )


GRAY = Image.fromarray(IMAGES[0, :, :, 0])
ONES = {kind: save(GRAY.save, format=kind) for kind in ("png", "jpeg", "bmp")}
JOINED = [
    *[(kind, content + content) for kind, content in ONES.items()],
    *[("png", ONES["png"] + b"\0\n" + ONES["jpeg"]), ("jpeg", ONES["jpeg"] + ONES["png"])],
]
"""Pictures behind which another one comes."""


def test_what_a_camera_appends_is_part_of_its_picture() -> None:
    view, exif = io.BytesIO(), Image.Exif()
    exif[0x010F] = "camera"
    GRAY.save(view, "MPO", save_all=True, append_images=[GRAY])
    for body in (
        view.getvalue(),
        save(GRAY.save, format="jpeg", exif=exif) + ONES["jpeg"],
        ONES["jpeg"] + bytes(99),
        ONES["png"] + b"\n",
    ):
        kind = "image/png" if body[1:4] == b"PNG" else "image/jpeg"
        assert decode(kind, body).shape == (1, 2, 3, 1)


@pytest.mark.parametrize(
    ("content_type", "body", "parts"),
    [
        ("image/png", to_picture(np.zeros((2, 3), np.uint8))[:-20], ["PNG", "not a complete one"]),
        ("image/png", to_picture(np.zeros((2, 3), np.uint8))[:20], ["PNG", "not a complete one"]),
        ("image/png", to_picture(np.zeros((2, 3), np.uint8)).replace(b"IDATx", b"IDATy"), ["PNG"]),
        (
            "image/png",
            to_picture(np.zeros((5, 4), np.uint8)),
            ["4x5", "3x2 (width x height) is expected"],
        ),
        *[(f"image/{kind}", content, ["another picture follows"]) for kind, content in JOINED],
        ("image/jpeg", b"\xff\xd8\xff", ["JPEG"]),
        ("image/png", b"GIF89a", ["GIF89a", "a PNG, JPEG or BMP picture is expected"]),
        ("image/png", bomb_png(60_000, 60_000), ["too large", "3x2 (width x height) is expected"]),
        ("image/png", bomb_png(2**31 - 1, 2**31 - 1), ["3x2 (width x height) is expected"]),
    ],
)
def test_picture_fault_is_named(content_type: str, body: bytes, parts: list[str]) -> None:
    message = refusal(content_type, body)

    assert all(part in message for part in parts), message


def test_bmp_decodes_exactly() -> None:
    body = save(Image.fromarray(IMAGES[1, :, :, 0]).save, format="BMP")

    assert np.array_equal(decode("image/bmp", body), IMAGES[1:2])
    assert "BMP" in refusal("image/bmp", body[:-4])
    assert "BMP" in refusal("image/bmp", b"BM")


def test_picture_of_any_size_is_refused_by_its_header_beyond_the_budget(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """SEC-6."""
    body = save(Image.new("L", (100, 50)).save, "PNG")

    decoded = pictures.decode_any(body, (None, None, 1), bytes_maximum=20_000)
    assert decoded.shape == (1, 50, 100, 1)
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda _: pytest.fail("it is decoded"))
    with pytest.raises(RequestError, match="100x50 pixels; at most 4999 pixels") as caught:
        pictures.decode_any(body, (None, None, 1), bytes_maximum=19_999)
    assert caught.value.status == 413


def test_damage_behind_the_pixels_is_the_clients_fault() -> None:
    """Pillow reads the chunks behind the pixels late, and not all of them with care."""
    body = to_picture(np.zeros((2, 3), np.uint8))
    end = body.index(b"IEND") - 4
    chunks = (b"iCCP", b"tRNS", b"gAMA", b"cHRM", b"pHYs", b"eXIf", b"fcTL", b"zTXt", b"PLTE")
    for name, content in itertools.product(chunks, (b"", b"a", b"a\0", b"\xff" * 5)):
        chunk = struct.pack(">I", len(content)) + name + content
        chunk += struct.pack(">I", zlib.crc32(name + content))
        try:
            decode("image/png", body[:end] + chunk + body[end:])
        except RequestError as error:
            assert error.status == 400  # noqa: PT017 - some of them are decoded
