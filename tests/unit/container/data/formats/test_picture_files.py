"""What becomes of each kind of picture, by the rules of docs/data.md."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from container.data import loading
from container.data.formats import picture_files
from container.data.formats.parts import DecodingTask, Options

SHAPE = (6, 5, 3)
COLORS = np.random.default_rng(0).integers(0, 256, SHAPE, np.uint8)
GRAY_16 = np.random.default_rng(1).integers(0, 65536, SHAPE[:2]).astype(np.uint16)


def encode(picture: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("PNG", {}),
        ("BMP", {}),
        ("WEBP", {"lossless": True}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("TIFF", {"compression": "tiff_adobe_deflate"}),
    ],
)
def test_a_kind_without_loss_keeps_its_pixels(kind: str, options: dict[str, object]) -> None:
    content = encode(Image.fromarray(COLORS), kind, **options)
    assert picture_files.is_picture(content[:12])
    assert np.array_equal(picture_files.decode(content, SHAPE), COLORS)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "TIFF", "PNG"])
def test_of_several_frames_or_pages_the_first_one_counts(kind: str) -> None:
    frames = [Image.new("RGB", (5, 6), color) for color in ("white", "black", "black")]
    options = {"lossless": True} if kind == "WEBP" else {}
    content = encode(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    assert (picture_files.decode(content, SHAPE) == 255).all()


@pytest.mark.parametrize("shape", [None, SHAPE])
@pytest.mark.parametrize("kind", ["GIF", "WEBP", "TIFF", "PNG"])
def test_frames_and_pages_that_are_left_out_are_reported(
    kind: str, shape: tuple[int, int, int] | None, tmp_path: Path
) -> None:
    frames = [Image.new("RGB", (5, 6), color) for color in ("white", "black", "red")]
    for number, more in enumerate([[], frames[1:]]):
        path = tmp_path / f"{'cat' if number else 'dog'}/{number}.{kind.lower()}"
        path.parent.mkdir()
        path.write_bytes(encode(frames[0], kind, save_all=True, append_images=more))
    (note,) = loading.load(tmp_path, Options(image_shape=shape)).notes
    assert note.startswith("passed over all frames and pages but the first one of pictures such as")
    assert note.endswith(f"{tmp_path}/cat/1.{kind.lower()} (1 of the first 2)")


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_gray_of_16_bits_is_divided_by_257(kind: str) -> None:
    content = encode(Image.fromarray(GRAY_16), kind)
    assert np.array_equal(picture_files.decode(content, (6, 5, 1))[..., 0], GRAY_16 // 257)
    colors = picture_files.decode(content, SHAPE)
    assert (colors == (GRAY_16 // 257)[..., None]).all()


def test_colors_of_16_bits_keep_their_high_byte() -> None:
    values = np.random.default_rng(2).integers(0, 65536, SHAPE).astype(np.uint16)
    content = tf.io.encode_png(values).numpy()
    assert content[24] == 16
    assert np.array_equal(picture_files.decode(content, SHAPE), values >> 8)


@pytest.mark.parametrize("mode", ["I", "F"])
def test_more_than_16_bits_are_refused_and_not_clipped(mode: str) -> None:
    content = encode(Image.new(mode, (5, 6), 70_000), "TIFF")
    with pytest.raises(ValueError, match="more than 16 bits"):
        picture_files.decode(content, SHAPE)


def test_inks_become_colors_and_colors_become_gray_by_pillows_formulas() -> None:
    inks = Image.fromarray(COLORS).convert("CMYK")
    content = encode(inks, "TIFF")
    assert np.array_equal(picture_files.decode(content, SHAPE), np.asarray(inks.convert("RGB")))
    jpeg = encode(inks, "JPEG", quality=100)
    with Image.open(io.BytesIO(jpeg)) as opened:
        assert opened.mode == "CMYK"
        expected = np.asarray(opened.convert("RGB"))
    assert np.array_equal(picture_files.decode(jpeg, SHAPE), expected)
    assert np.abs(expected.astype(int) - COLORS).mean() < 40


@pytest.mark.parametrize("name", ["renamed.jpg", "renamed.txt", "renamed", "renamed.png.1"])
def test_a_renamed_picture_is_known_by_its_content(name: str, tmp_path: Path) -> None:
    for folder in ("cat", "dog"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).write_bytes(encode(Image.fromarray(COLORS), "TIFF"))
    loaded = loading.load(tmp_path)
    assert loaded.classes == ("cat", "dog")
    assert np.array_equal(loaded.images[1], COLORS)


def test_a_picture_of_too_many_pixels_is_not_called_damaged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    content = encode(Image.fromarray(COLORS), "PNG")
    with pytest.raises(ValueError, match="has more than 20 pixels; make it smaller"):
        picture_files.decode(content, SHAPE)


def test_a_task_holds_few_pictures_if_their_files_are_large() -> None:
    def make(content: bytes) -> list[int]:
        pictures = [(str(n), "a", lambda: content) for n in range(300)]
        tasks = picture_files.read(pictures, Options(image_shape=SHAPE, resize="stretch"))
        sizes = []
        for task in tasks:
            assert isinstance(task, DecodingTask)
            sizes.append(len(task.unpack().contents))
        assert sum(sizes) == 300
        return sizes

    small = encode(Image.fromarray(COLORS), "PNG")
    assert make(small) == [256, 44]
    assert set(make(small + bytes(1 << 20))) == {3}
