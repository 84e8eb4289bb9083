"""The readers of `container.data.formats`: what they refuse, and how they name it."""

from __future__ import annotations

import contextlib
import io
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from container.data import loading
from container.data.formats import picture_files, tfrecord_files
from container.data.formats.parts import Options
from container.data.formats.tfrecord_files import Record
from container.errors import UserError

Pixels = NDArray[np.uint8]


def encode(pixels: Pixels, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def add(root: Path, name: str, content: bytes) -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


GREY = np.arange(20, dtype=np.uint8).reshape(4, 5) * 12
COLOUR = np.stack([GREY, GREY // 2, 255 - GREY], axis=2)


def test_folders_become_classes_and_colors_become_channels(tmp_path: Path) -> None:
    for name in ("dog/a.png", "dog/deeper/b.PNG", "cat/c.bmp"):
        add(tmp_path, name, encode(COLOUR, "BMP" if name.endswith("bmp") else "PNG"))
    loaded = loading.load(tmp_path)
    assert loaded.classes == ("cat", "dog")
    assert loaded.labels.tolist() == [0, 1, 1]
    assert all(np.array_equal(image, COLOUR) for image in loaded.images)


def test_one_directory_above_all_classes_is_no_class(tmp_path: Path) -> None:
    for name in ("images/cat/a.png", "images/dog/b.png"):
        add(tmp_path, name, encode(GREY))
    assert loading.load(tmp_path).classes == ("cat", "dog")


def test_channel_of_one_class_keeps_it(tmp_path: Path) -> None:
    add(tmp_path, "cat/a.png", encode(GREY))
    add(tmp_path, "cat/b.png", encode(GREY))
    assert loading.load(tmp_path).classes == ("cat",)


def test_picture_in_no_folder_is_named(tmp_path: Path) -> None:
    add(tmp_path, "cat/a.png", encode(GREY))
    stray = add(tmp_path, "b.png", encode(GREY))
    with pytest.raises(UserError, match=rf"{stray} is not in the directory of a class.*1 of 2"):
        loading.load(tmp_path)


def test_grey_and_color_together_are_color_unless_the_shape_says_grey(tmp_path: Path) -> None:
    add(tmp_path, "cat/a.png", encode(GREY))
    add(tmp_path, "dog/b.png", encode(COLOUR))
    assert loading.load(tmp_path).images.shape == (2, 4, 5, 3)
    assert loading.load(tmp_path, Options(image_shape=(4, 5, 1))).images.shape == (2, 4, 5, 1)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16", "CMYK"])
def test_every_kind_of_pixel_is_read_as_pillow_converts_it(mode: str) -> None:
    picture = (
        Image.fromarray(GREY.astype(np.uint16) * 257)
        if mode == "I;16"
        else Image.fromarray(COLOUR).convert(mode)
    )
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG" if mode == "CMYK" else "PNG")
    pixels = picture_files.decode(buffer.getvalue(), (4, 5, 1))[..., 0]
    if mode == "I;16":
        assert np.array_equal(pixels, GREY)
    else:
        assert np.array_equal(pixels, np.asarray(Image.open(buffer).convert("L")))


def test_pictures_of_several_sizes_ask_for_a_policy(tmp_path: Path) -> None:
    add(tmp_path, "cat/a.png", encode(GREY))
    add(tmp_path, "cat/b.png", encode(GREY))
    add(tmp_path, "dog/c.png", encode(GREY[:2]))
    with pytest.raises(
        UserError, match=r"2 sizes: .*a\.png is 5x4, .*c\.png is 5x2; set resize to one of stretch"
    ):
        loading.load(tmp_path)


@pytest.mark.parametrize(("policy", "corner"), [("stretch", 200), ("crop", 200), ("pad", 0)])
def test_resize_policies_stretch_crop_or_pad(policy: str, corner: int, tmp_path: Path) -> None:
    add(tmp_path, "cat/wide.png", encode(np.full((4, 8), 200, np.uint8)))
    add(tmp_path, "cat/square.png", encode(np.full((4, 4), 200, np.uint8)))
    wide = loading.load(tmp_path, Options(image_shape=(4, 4, 1), resize=policy)).images[1]
    assert wide.shape == (4, 4, 1)
    assert wide[0, 0, 0] == corner
    assert wide[2, 2, 0] == 200


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF"])
@pytest.mark.parametrize("share", [0.2, 0.6, 0.95])
def test_truncated_picture_is_a_fault_and_never_half_black(kind: str, share: float) -> None:
    random = np.random.default_rng(0)
    content = encode(random.integers(0, 256, (32, 32), np.uint8), kind)
    with pytest.raises(ValueError, match="picture"):
        picture_files.decode(content[: int(len(content) * share)], (32, 32, 1))


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # of damaged metadata
@settings(deadline=None, max_examples=200)
@given(
    position=st.floats(0, 1, exclude_max=True),
    value=st.integers(0, 255),
    kind=st.sampled_from(["PNG", "JPEG", "GIF", "WEBP", "TIFF"]),
)
def test_damaged_picture_raises_nothing_but_value_error(
    position: float, value: int, kind: str
) -> None:
    content = bytearray(encode(GREY, kind))
    content[int(position * len(content))] = value
    with contextlib.suppress(ValueError):
        assert picture_files.decode(bytes(content), (4, 5, 1)).shape == (4, 5, 1)


def test_bad_pictures_are_all_named_or_skipped_up_to_a_limit(tmp_path: Path) -> None:
    for index in range(8):
        add(tmp_path, f"cat/{index}.png", encode(GREY))
    for index in range(3):
        add(tmp_path, f"dog/bad{index}.png", b"no picture")
    add(tmp_path, "dog/good.png", encode(GREY))
    add(tmp_path, "dog/empty.png", b"")
    with pytest.raises(UserError, match=r"3 faults\n(.*bad\d\.png: not a PNG, JPEG, .*\n?){3}"):
        loading.load(tmp_path)
    loaded = loading.load(tmp_path, Options(bad_record_limit=3))
    assert loaded.labels.tolist() == [0] * 8 + [1]
    assert [fault.split(":")[0][-8:] for fault in loaded.rejected] == [
        "bad0.png",
        "bad1.png",
        "bad2.png",
    ]
    with pytest.raises(UserError, match="more than 2 records cannot be read"):
        loading.load(tmp_path, Options(bad_record_limit=2))


def test_skipping_bad_rows_keeps_the_good_ones_of_the_same_block(tmp_path: Path) -> None:
    add(tmp_path, "rows.csv", b"7,0,1,2,3\n8,4,5,6,x\n9,4,5,6,7\n8,1\n7,9,9,9,9\n")
    loaded = loading.load(tmp_path, Options(bad_record_limit=100))
    assert [loaded.classes[label] for label in loaded.labels] == [7, 9, 7]
    assert [fault.split("rows.csv, ")[1] for fault in loaded.rejected] == [
        "row 2, column 5: 'x' is not a whole number from 0 to 255",
        "row 4: 2 columns, expected 5",
    ]


IMAGES = np.arange(48, dtype=np.uint8).reshape(3, 4, 4)


@pytest.mark.parametrize(
    ("arrays", "reason"),
    [
        ({"images": IMAGES}, "expected labels under one of the names labels"),
        (
            {"foo": IMAGES, "bar": [1, 2, 3]},
            "holds foo, bar; expected images under one of the names images",
        ),
        ({"x": IMAGES, "y": [1, 2]}, "one label per image"),
        ({"x": IMAGES, "y": 3}, "one label per image"),
        ({"x": 3, "y": [1, 2, 3]}, "one label per image"),
        (
            {"x": IMAGES, "y": [[1, 0], [0, 1], [1, 0]]},
            "its labels [3, 2]; expected one label per image, a number or text; save labels.argmax",
        ),
        (
            {"x": IMAGES.astype(int) - 1, "y": [1, 2, 3]},
            "image 0: a pixel is not a whole number from 0 to 255",
        ),
        ({"x": IMAGES + 0.5, "y": [1, 2, 3]}, "image 0: a pixel is not a whole number"),
        (
            {"x": np.where(IMAGES == 40, 2, IMAGES / 255), "y": [1, 2, 3]},
            "image 2: a pixel is not a whole number",
        ),
        ({"x": IMAGES * np.nan, "y": [1, 2, 3]}, "image 0"),
        ({"x": IMAGES.reshape(3, 2, 2, 2, 2), "y": [1, 2, 3]}, "set image_shape"),
        ({"x": IMAGES.reshape(3, 8, 2)[:, :7], "y": [1, 2, 3]}, ""),
        ({"x": np.array([{}, {}, {}]), "y": [1, 2, 3]}, "never unpickled"),
        ({"x": IMAGES, "y": np.array([None, {}, 1])}, "never unpickled"),
    ],
)
def test_npz_faults_name_file_and_reason(
    arrays: dict[str, object], reason: str, tmp_path: Path
) -> None:
    path = tmp_path / "digits.npz"
    np.savez(path, **arrays)
    if not reason:
        assert loading.load(tmp_path).images.shape == (3, 7, 2, 1)
        return
    with pytest.raises(UserError) as caught:
        loading.load(tmp_path)
    assert reason in str(caught.value)
    assert "digits.npz" in str(caught.value)


def test_float_images_of_unit_scale_stay_in_scale_where_one_is_black_and_white(
    tmp_path: Path,
) -> None:
    images = IMAGES / 255
    images[1] = np.eye(4)
    np.savez(tmp_path / "digits.npz", x=images, y=["a", "b", "c"])
    loaded = loading.load(tmp_path)
    assert np.array_equal(loaded.images[1, ..., 0], np.eye(4) * 255)
    assert np.array_equal(loaded.images[2, ..., 0], IMAGES[2])
    assert loaded.classes == ("a", "b", "c")


def test_npz_of_several_sets_gives_the_one_of_its_role(tmp_path: Path) -> None:
    np.savez(
        tmp_path / "mnist.npz", x_train=IMAGES, y_train=[1, 2, 3], x_test=IMAGES[:2], y_test=[4, 5]
    )
    assert loading.load(tmp_path).classes == (1, 2, 3)
    assert loading.load(tmp_path, Options(role="test")).classes == (4, 5)


def test_npy_files_pair_by_their_names(tmp_path: Path) -> None:
    for name, label in (("a", 1), ("b", 2)):
        np.save(tmp_path / f"x_{name}.npy", np.full((2, 4, 4), label, np.uint8))
        np.save(tmp_path / f"y_{name}.npy", [label, label])
    loaded = loading.load(tmp_path)
    assert [loaded.classes[label] for label in loaded.labels] == [1, 1, 2, 2]
    assert loaded.images[:, 0, 0, 0].tolist() == [1, 1, 2, 2]
    (tmp_path / "y_b.npy").unlink()
    with pytest.raises(UserError, match=r"pairs such as.*x_a\.npy, x_b\.npy, labels in y_a\.npy"):
        loading.load(tmp_path)


@pytest.mark.parametrize("cut", [3, 20, 200])
def test_array_file_that_ends_early_is_named(cut: int, tmp_path: Path) -> None:
    np.save(tmp_path / "images.npy", IMAGES)
    np.save(tmp_path / "labels.npy", [1, 2, 3])
    content = (tmp_path / "images.npy").read_bytes()
    (tmp_path / "images.npy").write_bytes(
        content[: len(content) - cut] if cut < 100 else content[: cut - 150]
    )
    with pytest.raises(UserError, match=r"images\.npy"):
        loading.load(tmp_path)


def frame(data: bytes) -> bytes:
    """Frame one TFRecord (BT-14) with checksums made bit by bit."""

    def mask(content: bytes) -> bytes:
        crc = 0xFFFFFFFF
        for byte in content:
            crc ^= byte
            for _ in range(8):
                crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
        crc ^= 0xFFFFFFFF
        return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) % 2**32)

    length = struct.pack("<Q", len(data))
    return length + mask(length) + data + mask(data)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.binary(max_size=1100), min_size=1, max_size=8), st.data())
def test_checksum_of_any_record_is_right_and_any_flipped_bit_is_seen(
    contents: list[bytes], data: st.DataObject
) -> None:
    batch = [
        Record(0, content, int.from_bytes(frame(content)[-4:], "little")) for content in contents
    ]
    assert tfrecord_files.find_faults(batch) == [""] * len(contents)
    damaged = [content for content in contents if content]
    if damaged:
        content = bytearray(data.draw(st.sampled_from(damaged)))
        checksum = int.from_bytes(frame(bytes(content))[-4:], "little")
        content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
        assert tfrecord_files.find_faults([Record(0, bytes(content), checksum)])[0]


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=200))
def test_record_that_is_no_example_is_a_fault(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"not a tf\.train\.Example|expected the"):
        tfrecord_files._pick(tfrecord_files._parse_example(content))  # noqa: SLF001 - foreign bytes


@pytest.mark.parametrize("content", [b"", b"\x0a", b"nothing at all"])
def test_tfrecord_without_image_or_label_says_what_is_expected(
    content: bytes, tmp_path: Path
) -> None:
    add(tmp_path, "x.tfrecord", frame(content))
    with pytest.raises(UserError, match=r"x\.tfrecord, record 0"):
        loading.load(tmp_path)


def test_recordio_pictures_with_label_headers_are_read(tmp_path: Path) -> None:
    stream = b""
    for label in (3, 5):
        content = struct.pack("<IfQQ", 0, label, label, 0) + encode(
            np.full((4, 4), label, np.uint8)
        )
        stream += struct.pack("<II", 0xCED7230A, len(content)) + content + bytes(-len(content) % 4)
    add(tmp_path, "digits.rec", stream)
    loaded = loading.load(tmp_path)
    assert loaded.classes == (3, 5)
    assert loaded.images[:, 0, 0, 0].tolist() == [3, 5]


def frame_recordio(content: bytes, flag: int = 0) -> bytes:
    return (
        struct.pack("<II", 0xCED7230A, len(content) | flag << 29)
        + content
        + bytes(-len(content) % 4)
    )


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        ((0, 1), "ends within a record of several pieces"),
        ((0, 1, 0), "pieces of a record are out of order"),
        ((0, 2, 3), "pieces of a record are out of order"),
        ((0, 1, 1, 3), "pieces of a record are out of order"),
    ],
)
def test_pieces_of_recordio_that_do_not_belong_together_are_named(
    flags: tuple[int, ...], reason: str, tmp_path: Path
) -> None:
    content = struct.pack("<IfQQ", 0, 1, 0, 0) + encode(GREY)
    add(tmp_path, "a.rec", b"".join(frame_recordio(content, flag) for flag in flags))
    with pytest.raises(UserError, match=rf"a\.rec: .*{reason}"):
        loading.load(tmp_path)


def test_raw_pixels_of_another_shape_and_the_same_number_are_a_fault(tmp_path: Path) -> None:
    def make(height: int, width: int) -> bytes:
        features = b""
        for key, value in (
            (b"image", b"\x0a\x06\x0a\x04abcd"),
            (b"label", b"\x1a\x03\x0a\x01\x01"),
            (b"height", b"\x1a\x03\x0a\x01" + bytes([height])),
            (b"width", b"\x1a\x03\x0a\x01" + bytes([width])),
        ):
            entry = b"\x0a" + bytes([len(key)]) + key + b"\x12" + bytes([len(value)]) + value
            features += b"\x0a" + bytes([len(entry)]) + entry
        return frame(b"\x0a" + bytes([len(features)]) + features)

    add(tmp_path, "a.tfrecord", make(1, 4) + make(4, 1) + make(1, 4))
    loaded = loading.load(tmp_path, Options(bad_record_limit=9))
    assert loaded.images.shape == (2, 1, 4, 1)
    assert "record 1: its height is 4, expected 1" in loaded.rejected[0]


@pytest.mark.parametrize(
    ("images", "labels", "reason"),
    [
        (IMAGES, np.array(3), "holds one number"),
        (IMAGES.astype("U3"), np.arange(3), "values of the type <U3; expected pixels as numbers"),
        (IMAGES.astype("c8"), np.arange(3), "values of the type complex64"),
    ],
)
def test_arrays_of_what_is_no_pixel_are_named(
    images: NDArray[np.generic], labels: NDArray[np.int64], reason: str, tmp_path: Path
) -> None:
    np.save(tmp_path / "images.npy", images)
    np.save(tmp_path / "labels.npy", labels)
    with pytest.raises(UserError, match=reason):
        loading.load(tmp_path)


@pytest.mark.parametrize("compressed", [False, True])
def test_a_damaged_archive_of_arrays_is_named_and_never_a_crash(
    compressed: bool, tmp_path: Path
) -> None:
    path = tmp_path / "a.npz"
    (np.savez_compressed if compressed else np.savez)(path, images=IMAGES, labels=[1, 2, 3])
    content = path.read_bytes()
    refused = 0
    for place in range(0, len(content), 9):
        path.write_bytes(content[:place] + b"\xff" + content[place + 1 :])
        try:
            loading.load(tmp_path)
        except UserError as error:
            refused += 1
            assert "a.npz" in str(error)  # noqa: PT017 - not all damage is found
    assert refused > 9


def test_an_image_of_impossible_size_is_refused_before_memory_is_asked_for(tmp_path: Path) -> None:
    sizes = struct.pack(">4I", 3, 2**31, 2**31, 4)
    (tmp_path / "train-images-idx4-ubyte").write_bytes(b"\0\0\x08\x04" + sizes + bytes(9))
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(b"\0\0\x08\x01\0\0\0\x03" + bytes(3))
    with pytest.raises(UserError, match=r"idx4-ubyte is damaged: by its header an image has"):
        loading.load(tmp_path)
