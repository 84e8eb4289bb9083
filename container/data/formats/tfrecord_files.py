"""TFRecord files of `tf.train.Example`, read without TensorFlow.

A record (BT-14) is a u64 length, the masked CRC-32C of the length, the data, and the masked CRC-32C
of the data, all little-endian.
"""

import functools
import math
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, BinaryIO, Final

import numpy as np
from numpy.typing import NDArray

from container.data.formats import checksums, picture_files
from container.data.formats.parts import (
    PART_BYTES,
    DecodingTask,
    Images,
    Options,
    Shape,
    Source,
    Task,
    Unpacked,
    write_label,
)
from container.data.pictures import ends
from container.errors import UserError
from container.record_framing import read_fields, read_integers

_IMAGE_KEYS: Final = ("image/encoded", "image/raw", "image_raw", "image", "x", "data")
_LABEL_KEYS: Final = ("image/class/label", "label", "y", "class", "image/class/text", "target")
_SIZE_KEYS: Final = (
    ("image/height", "height", "rows"),
    ("image/width", "width", "cols"),
    ("image/channels", "channels", "depth", "image/depth"),
)
_RECORD_BYTES_MAXIMUM: Final = 1 << 30
_SIZE_NOUNS: Final = ("height", "width", "number of channels")
_FEATURES_SHOWN: Final = 10
_NO_SHAPE: Final = (0, 0, 1)

Feature = list[bytes] | list[int] | list[float]


@dataclass(frozen=True)
class Record:
    """One record of a file."""

    index: int
    data: bytes
    checksum: int
    fault: str = ""
    """Why neither this record nor the rest of the file can be read."""


def is_tfrecord(head: bytes) -> bool:
    """Return whether `head` begins a TFRecord file: the checksum of its first length is right."""
    checksum = int.from_bytes(head[8:12], "little")
    return len(head) >= 12 and checksums.compute_masked_crc(head[:8]) == checksum


def read(sources: Iterable[Source], options: Options) -> Iterator[Task]:
    """Cut TFRecord files into tasks.

    An image is a picture (`image/encoded`), or raw uint8 pixels with `image/height` and so on; a
    label is an integer or a text (`image/class/label`).

    Raises: UserError if the first intact record has no image or label of a known name, or no shape.
    """
    shape = options.image_shape
    is_first = True
    for source in sources:
        batch: list[Record] = []
        batch_bytes = 0
        with source.reading() as stream:
            for record in _split(stream):
                if shape is None and find_faults([record])[0]:
                    # Not a DecodingTask: there is nothing to decode.
                    yield _make_task([record], _NO_SHAPE, options, source.name).__call__
                    continue
                if shape is None:
                    shape = _find_shape(f"{source.name}, record {record.index}", record, options)
                if is_first:
                    _note_features(record, options, source.name)
                    is_first = False
                batch.append(record)
                batch_bytes += max(len(record.data), math.prod(shape))
                if batch_bytes >= PART_BYTES:
                    yield _make_task(batch, shape, options, source.name)
                    batch, batch_bytes = [], 0
        if batch and shape is not None:
            yield _make_task(batch, shape, options, source.name)


def _note_features(record: Record, options: Options, name: str) -> None:
    """Report the features of a record that have no use."""
    try:
        features = _parse_example(record.data)
    except ValueError:  # which is reported with its place when it is decoded
        return
    image, label = (_find_key(features, keys) for keys in (_IMAGE_KEYS, _LABEL_KEYS))
    others = sorted(features.keys() - {image, label, *chain.from_iterable(_SIZE_KEYS)})
    if others:
        shown = ", ".join(others[:_FEATURES_SHOWN])
        options.note(f"passed over {len(others)} features of the records in {name}: {shown}")


def find_faults(batch: Sequence[Record]) -> list[str]:
    """Return the fault of each record; "" if it is complete and its checksum is right."""
    computed = checksums.compute_masked_crcs([record.data for record in batch])
    faults = []
    for record, checksum in zip(batch, computed, strict=True):
        wrong = "" if checksum == record.checksum else "its checksum is wrong"
        faults.append(record.fault or wrong)
    return faults


def _split(stream: BinaryIO) -> Iterator[Record]:
    """Yield all records; the last one has a fault if the rest of the file cannot be read."""
    index = 0
    while head := stream.read(12):
        size = int.from_bytes(head[:8], "little")
        if not is_tfrecord(head):
            yield Record(index, b"", 0, "its length is damaged, and the rest of the file is lost")
            return
        if size > _RECORD_BYTES_MAXIMUM:
            yield Record(index, b"", 0, f"its length of {size} bytes is not plausible")
            return
        body = stream.read(size + 4)
        if len(body) < size + 4:
            yield Record(index, b"", 0, "the file ends within it")
            return
        yield Record(index, body[:size], int.from_bytes(body[size:], "little"))
        index += 1


def _find_shape(place: str, record: Record, options: Options) -> Shape:
    try:
        features = _parse_example(record.data)
        image, _ = _pick(features)
    except ValueError as error:
        raise UserError(f"{place}: {error}") from error
    content = image[0] if isinstance(image[0], bytes) else bytes(len(image))
    if picture_files.is_picture(content):
        return picture_files.find_shape([(place, "", lambda: content)], options.resize)
    height, width, channels = (int((_first(features, keys) or [0])[0]) for keys in _SIZE_KEYS)
    if not (height and width):
        height = width = math.isqrt(len(content) // (channels or 1))
    shape = (height, width, channels or max(1, len(content) // max(1, height * width)))
    if not content or math.prod(shape) != len(content):
        raise UserError(
            f"{place} holds {len(content)} raw pixels, which are not a square image and do not fit "
            f"{list(shape)}; set image_shape to height, width and channels"
        )
    return shape


def _make_task(batch: Sequence[Record], shape: Shape, options: Options, name: str) -> DecodingTask:
    decode = functools.partial(_to_pixels, shape=shape, resize=options.resize)
    return DecodingTask(
        functools.partial(_unpack, batch, name, options.charset, shape), decode, shape
    )


def _unpack(batch: Sequence[Record], name: str, charset: str, shape: Shape) -> Unpacked:
    """Check and parse records; the content of a picture is bytes, of pixels any feature."""
    unpacked = Unpacked()
    for record, fault in zip(batch, find_faults(batch), strict=True):
        place = f"{name}, record {record.index}"
        if fault:
            unpacked.faults.append(f"{place}: {fault}")
            continue
        try:
            features = _parse_example(record.data)
            image, label = _pick(features)
            text = _to_text(label, charset)
            content = image[0] if isinstance(image[0], bytes) else image
            _check_size(features, content, shape)
        except ValueError as error:
            unpacked.faults.append(f"{place}: {error}")
            continue
        unpacked.contents.append(content)
        unpacked.labels.append(text)
        unpacked.places.append(place)
    return unpacked


def _check_size(features: Mapping[str, Feature], content: bytes | Feature, shape: Shape) -> None:
    """Compare the size that a record of raw pixels gives with that of the set.

    Raises: ValueError if they differ, or a picture holds two.
    """
    if isinstance(content, bytes) and picture_files.is_picture(content):
        if ends.has_successor(content):
            raise ValueError("another picture follows in it")
        return
    for keys, expected, noun in zip(_SIZE_KEYS, shape, _SIZE_NOUNS, strict=True):
        found = _first(features, keys)
        if found and int(found[0]) not in (0, expected):
            raise ValueError(f"its {noun} is {int(found[0])}, expected {expected}")


def _to_text(label: Feature, charset: str) -> str:
    """Return the text of a label.

    Raises: ValueError if there are several, as in one-hot form, or the text is not in the charset.
    """
    if len(label) > 1:
        message = f"it has {len(label)} labels, expected one: the number or name of its class"
        raise ValueError(message)
    value = label[0]
    # A float of 32 bits has the digits of one of 64 bits only by chance.
    return write_label(np.float32(value) if isinstance(value, float) else value, charset)


def _pick(features: Mapping[str, Feature]) -> tuple[Feature, Feature]:
    """Return image and label.

    Raises: ValueError with the names of the features if one is missing.
    """
    image, label = _first(features, _IMAGE_KEYS), _first(features, _LABEL_KEYS)
    if len(image) > 1 and isinstance(image[0], bytes):
        raise ValueError(f"it has {len(image)} images, expected one")
    if image and label:
        return image, label
    missing, keys = ("label", _LABEL_KEYS) if image else ("image", _IMAGE_KEYS)
    raise ValueError(
        f"its features are {', '.join(sorted(features)) or 'none'}; expected the {missing} as one "
        f"of {', '.join(keys)}"
    )


def _first(features: Mapping[str, Feature], keys: Sequence[str]) -> Feature:
    """Return the first of the features that is not empty; else an empty one."""
    return features.get(_find_key(features, keys), [])


def _find_key(features: Mapping[str, Feature], keys: Sequence[str]) -> str:
    """Return the name of the first of the features that is not empty; else ""."""
    return next((key for key in keys if features.get(key)), "")


def _to_pixels(content: bytes | Feature, shape: Shape, resize: str) -> Images:
    if isinstance(content, bytes):
        if picture_files.is_picture(content):
            return picture_files.decode(content, shape, resize)
        pixels: NDArray[Any] = np.frombuffer(content, np.uint8)
    else:
        pixels = np.array(content)
        if not ((pixels >= 0) & (pixels <= 255) & (pixels == np.floor(pixels))).all():
            raise ValueError("a pixel is not a whole number from 0 to 255")
    if pixels.size != math.prod(shape):
        raise ValueError(f"{pixels.size} pixels, expected {math.prod(shape)}")
    return pixels.astype(np.uint8).reshape(shape)


def _parse_example(data: bytes) -> dict[str, Feature]:
    """Parse a `tf.train.Example`: features (field 1) of entries (1) of key (1) and value (2).

    Raises: ValueError if it is not one.
    """
    found: dict[str, Feature] = {}
    try:
        for features in read_fields(data, 1):
            for entry in read_fields(features, 1):
                keys, values = read_fields(entry, 1), read_fields(entry, 2)
                for key, value in zip(keys, values, strict=True):
                    found[key.decode("utf-8", errors="replace")] = _parse_feature(value)
    except (AttributeError, TypeError, ValueError, struct.error) as error:
        raise ValueError("it is not a tf.train.Example") from error
    return found


def _parse_feature(data: bytes) -> Feature:
    """Parse a `tf.train.Feature`: a list of bytes (field 1), floats (2) or integers (3)."""
    texts = read_fields(data, 1)
    if texts:
        return list(chain.from_iterable(read_fields(part, 1) for part in texts))
    for part in read_fields(data, 2):
        packed = b"".join(read_fields(part, 1))
        return list(struct.unpack(f"<{len(packed) // 4}f", packed))
    return list(chain.from_iterable(read_integers(part, 1) for part in read_fields(data, 3)))
