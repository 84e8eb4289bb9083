"""Pictures that TensorFlow decodes: as many, the same pixels and the same faults as with Pillow."""

from __future__ import annotations

import io
import struct
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from container.data import loading
from container.data.formats.parts import DecodingTask, Options, Part, Task
from container.data.images import LabeledImages
from container.errors import UserError
from container.training.input.decoding import Decoder
from container.training.input.picture_kinds import find_kind

SIDE = 12
MODES = {
    "jpeg": ("L", "RGB", "CMYK", "YCbCr"),
    "png": ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"),
    "bmp": ("L", "RGB"),
    "gif": ("L", "P"),
}


def start() -> Decoder:
    decoder = Decoder()
    decoder.start()
    return decoder


def draw(seed: int, mode: str) -> Image.Image:
    chance = np.random.default_rng(seed)
    pixels = chance.integers(0, 256, (SIDE, SIDE, 4), np.uint8)
    if mode == "I;16":
        return Image.fromarray(chance.integers(0, 65536, (SIDE, SIDE)).astype(np.uint16))
    return Image.fromarray(pixels, "RGBA").convert(mode)


def encode(picture: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


def write(directory: Path, contents: list[bytes]) -> None:
    for index, content in enumerate(contents):
        path = directory / str(index % 2) / f"{index:03}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def load(directory: Path, channels: int, limit: int = 1000) -> list[LabeledImages]:
    """Load with Pillow, and with TensorFlow."""
    shape = (SIDE, SIDE, channels)
    runs = (None, start().run)
    options = [Options(image_shape=shape, bad_record_limit=limit, run=run) for run in runs]
    return [loading.load(directory, one) for one in options]


def check_equal(sets: list[LabeledImages]) -> None:
    expected, found = sets
    assert np.array_equal(found.images, expected.images)
    assert found.labels.tolist() == expected.labels.tolist()
    assert found.classes == expected.classes
    assert sorted(found.rejected) == sorted(expected.rejected)


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("kind", MODES)
def test_every_kind_of_picture_has_the_pixels_that_pillow_decodes(
    kind: str, channels: int, tmp_path: Path
) -> None:
    contents = []
    for mode in MODES[kind]:
        contents += [encode(draw(seed, mode), kind) for seed in range(3)]
    if kind == "jpeg":
        color, gray = draw(9, "RGB"), draw(9, "L")
        variants = ({"subsampling": n} for n in range(3))
        contents += [encode(color, kind, quality=q, **v) for v in variants for q in (5, 75, 100)]
        contents += [encode(p, kind, progressive=True) for p in (color, gray)]
        contents += [encode(color, kind, optimize=True), contents[0] + b"something behind its end"]
    if kind == "png":
        palette = draw(9, "P")
        contents += [encode(palette, kind, transparency=3), encode(palette, kind, bits=2)]
        contents += [encode(draw(9, "L"), kind, transparency=7)]
        contents += [encode(draw(9, "RGB"), kind, dpi=(72, 72), transparency=(1, 2, 3))]
    write(tmp_path, contents)
    check_equal(load(tmp_path, channels))


@pytest.mark.parametrize("kind", ["jpeg", "png"])
def test_damage_anywhere_has_the_same_effect_as_with_pillow(kind: str, tmp_path: Path) -> None:
    whole = encode(draw(1, "RGB"), kind, dpi=(72, 72))
    chance = np.random.default_rng(2)
    contents = [whole, whole[: len(whole) // 2], whole[:-2], b"not a picture", whole[:8]]
    for position in chance.integers(0, len(whole), 250):
        damaged = bytearray(whole)
        damaged[position] ^= int(chance.integers(1, 256))
        contents.append(bytes(damaged))
    write(tmp_path, contents)
    sets = load(tmp_path, 3)
    assert 40 < len(sets[0].rejected) < 255
    check_equal(sets)


def test_a_mixed_set_keeps_the_order_of_its_files(tmp_path: Path) -> None:
    kinds = ("jpeg", "png", "gif", "bmp")
    write(tmp_path, [encode(draw(n, "RGB"), kinds[n % 4]) for n in range(600)])  # three slabs
    check_equal(load(tmp_path, 3))


def test_pictures_in_tfrecord_are_decoded_with_their_checksums_checked(tmp_path: Path) -> None:
    path = tmp_path / "part.tfrecord"
    with tf.io.TFRecordWriter(str(path)) as writer:
        for seed in range(20):
            kind = "jpeg" if seed % 2 else "png"
            content = encode(draw(seed, "RGB"), kind)
            feature = {
                "image/encoded": tf.train.Feature(bytes_list=tf.train.BytesList(value=[content])),
                "label": tf.train.Feature(int64_list=tf.train.Int64List(value=[seed % 3])),
            }
            example = tf.train.Example(features=tf.train.Features(feature=feature))
            writer.write(example.SerializeToString())
    content = bytearray(path.read_bytes())
    content[100] ^= 1  # in the first record, so that the shape is not known at once
    path.write_bytes(content)
    sets = load(tmp_path, 3)
    assert len(sets[0].labels) == 19
    check_equal(sets)


def test_pictures_in_recordio_are_decoded_and_its_fault_ends_the_set(tmp_path: Path) -> None:
    records = b""
    for seed in range(10):
        data = struct.pack("<IfQQ", 0, seed % 2, 0, 0) + encode(draw(seed, "L"), "png")
        records += struct.pack("<II", 0xCED7230A, len(data)) + data + bytes(-len(data) % 4)
    (tmp_path / "a.rec").write_bytes(records)
    check_equal(load(tmp_path, 1))
    (tmp_path / "a.rec").write_bytes(records[:-40])
    with pytest.raises(UserError, match="ends within the RecordIO record"):
        loading.load(tmp_path, Options(run=start().run))


def test_what_pillow_has_its_own_way_with_is_left_to_it() -> None:
    shape = (SIDE, SIDE, 3)
    assert find_kind(encode(draw(0, "RGB"), "jpeg"), shape) == "jpeg"
    assert find_kind(encode(draw(0, "L"), "jpeg"), shape) == "jpeg"
    assert find_kind(encode(draw(0, "RGBA"), "png"), shape) == "png"
    assert not find_kind(encode(draw(0, "CMYK"), "jpeg"), shape)
    assert not find_kind(encode(draw(0, "I;16"), "png"), shape)
    assert not find_kind(encode(draw(0, "RGB"), "jpeg"), (SIDE, SIDE, 1))
    assert not find_kind(encode(draw(0, "RGB"), "jpeg"), (SIDE, SIDE + 1, 3))
    assert not find_kind([1, 2, 3], shape)


def test_the_reader_announces_the_shape_and_waits_until_tensorflow_is_set_up(
    tmp_path: Path,
) -> None:
    write(tmp_path, [encode(draw(n, "RGB"), "png") for n in range(4)])
    found: Future[LabeledImages] = Future()
    with Decoder() as decoder:
        options = Options(run=decoder.run)
        thread = threading.Thread(target=lambda: found.set_result(loading.load(tmp_path, options)))
        thread.start()
        assert decoder.wait_for_shape(found) == (SIDE, SIDE, 3)
        assert not found.done()
        decoder.start()
        assert len(found.result(60).labels) == 4
        thread.join(60)


def test_a_reader_does_not_wait_for_what_will_not_come() -> None:
    def make_tasks() -> Iterator[Task]:
        yield DecodingTask(lambda: pytest.fail("it decodes"), bytes, (1, 1, 1))  # type: ignore[arg-type]

    faults: list[BaseException] = []

    def read(decoder: Decoder) -> list[Part]:
        try:
            return list(decoder.run(make_tasks()))
        except BaseException as error:  # noqa: BLE001 - handed to the test's thread
            faults.append(error)
            return []

    decoder = Decoder()
    thread = threading.Thread(target=read, args=(decoder,))
    with decoder:
        thread.start()
    thread.join(60)
    assert not thread.is_alive()
    assert [type(fault).__name__ for fault in faults] == ["CancelledError"]
