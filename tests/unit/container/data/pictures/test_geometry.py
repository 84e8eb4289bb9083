"""Training and serving make the same pixels of a picture."""

import io

import numpy as np
import pytest
from PIL import Image

from container.data.formats import picture_files
from container.data.pictures import geometry
from container.errors import RequestError
from container.serving.bodies import pictures

NOISE = np.random.default_rng(7).integers(0, 256, (9, 14, 4), np.uint8)


def write(mode: str, kind: str, **options: object) -> bytes:
    picture = Image.fromarray(NOISE).convert("RGB" if mode == "I;16" else mode)
    if mode == "I;16":
        picture = Image.fromarray(NOISE[:, :, 0].astype(np.uint16) * 257)
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


@pytest.mark.parametrize("policy", [name for name in geometry.POLICIES if name != "refuse"])
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize(
    ("mode", "kind"),
    [
        *(("RGB", "JPEG"), ("L", "JPEG"), ("CMYK", "JPEG"), ("RGBA", "PNG"), ("LA", "PNG")),
        *(("P", "PNG"), ("1", "PNG"), ("I;16", "PNG"), ("RGB", "BMP")),
    ],
)
def test_picture_of_any_size_has_the_same_pixels_in_both(
    policy: str, channels: int, mode: str, kind: str
) -> None:
    body = write(mode, kind)
    shape = (4, 5, channels)
    served = pictures.decode_any(body, shape, resize=policy)[0]
    assert np.array_equal(served, picture_files.decode(body, shape, policy))


def test_orientation_tag_is_ignored_in_both() -> None:
    exif = Image.Exif()
    exif[274] = 6
    turned = write("RGB", "JPEG", exif=exif)
    plain = write("RGB", "JPEG")
    shape = (9, 14, 3)
    expected = picture_files.decode(plain, shape)
    assert np.array_equal(picture_files.decode(turned, shape), expected)
    assert np.array_equal(pictures.decode_any(turned, shape)[0], expected)


@pytest.mark.parametrize(
    ("mode", "kind", "options", "room"),
    [("RGB", "JPEG", {}, 4), ("RGBA", "PNG", {}, 8), ("RGB", "JPEG", {"progressive": True}, 10)],
)
def test_picture_that_takes_too_much_is_refused_by_its_header(
    mode: str, kind: str, options: dict[str, object], room: int
) -> None:
    """SEC-6: what Pillow takes for a pixel decides."""
    body = write(mode, kind, **options)
    needed = 9 * 14 * room
    enough = int(needed / 1.9) + 1
    assert pictures.decode_any(body, (4, 5, 3), resize="pad", bytes_maximum=enough).any()
    with pytest.raises(RequestError, match="14x9 pixels") as caught:
        pictures.decode_any(body, (4, 5, 3), resize="pad", bytes_maximum=enough - 2)
    assert caught.value.status == 413
