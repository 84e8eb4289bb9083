"""Records: TFRecord files of `tf.train.Example`, and RecordIO streams; read without TensorFlow.

TFRecord (BT-14): u64 length, masked CRC-32C of the length, data, masked CRC-32C of the data, all
little-endian. `container.record_framing` describes RecordIO.
"""

from __future__ import annotations

import functools
import math
import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, BinaryIO, Final

import numpy as np
from numpy.typing import NDArray

from container import record_framing
from container.data.formats import checksums, picture_files
from container.data.formats.parts import PART_BYTES, Images, Part, Reading, Shape, Source, Task
from container.errors import UserError
from container.record_framing import read_fields, read_integers

_IMAGE_KEYS: Final = ("image/encoded", "image/raw", "image_raw", "image", "x", "data")
_LABEL_KEYS: Final = ("image/class/label", "label", "y", "class", "image/class/text", "target")
_SIZE_KEYS: Final = (
    ("image/height", "height", "rows"),
    ("image/width", "width", "cols"),
    ("image/channels", "channels", "depth", "image/depth"),
)
_WRONG: Final = "its checksum is wrong"
_RECORD_BYTES_MAXIMUM: Final = 1 << 30
_IMAGE_HEADER: Final = struct.Struct("<IfQQ")

Feature = list[bytes] | list[int] | list[float]


class _DamagedError(ValueError):
    """The rest of a stream cannot be read."""


def is_tfrecord(head: bytes) -> bool:
    """Tell whether a file that begins with `head` is TFRecord: the checksum of its first length is right."""
    checksum = int.from_bytes(head[8:12], "little")
    return len(head) >= 12 and checksums.compute_masked_crc(head[:8]) == checksum


def is_recordio(head: bytes) -> bool:
    """Tell whether a stream that begins with `head` is RecordIO."""
    return head[:4] == record_framing.RECORDIO_MAGIC


def read_tfrecords(sources: Iterable[Source], reading: Reading) -> Iterator[Task]:
    """Cut TFRecord files into tasks.

    An image is a picture (`image/encoded`) or raw uint8 pixels with `image/height` and so on, a
    label an integer or a text (`image/class/label`).

    Raises: UserError if the first record that is sound has no image or label that is known, or no
    shape.
    """
    shape = reading.image_shape
    for source in sources:
        batch: list[tuple[int, bytes, int]] = []
        batch_bytes = 0
        with source.reading() as stream:
            for item in _number(_split_tfrecords(stream)):
                if isinstance(item, str):
                    yield functools.partial(
                        _decode_examples, batch, shape or (0, 0, 1), reading.resize, source.name
                    )
                    yield functools.partial(_fail, f"{source.name}: {item}", shape or (0, 0, 1))
                    batch = []
                    break
                if shape is None:
                    if not find_sound([item])[0]:
                        yield functools.partial(
                            _fail, f"{source.name}, record {item[0]}: {_WRONG}", (0, 0, 1)
                        )
                        continue
                    shape = _find_shape(source.name, item[0], item[1], reading)
                batch.append(item)
                batch_bytes += max(len(item[1]), math.prod(shape))
                if batch_bytes >= PART_BYTES:
                    yield functools.partial(
                        _decode_examples, batch, shape, reading.resize, source.name
                    )
                    batch, batch_bytes = [], 0
        if batch and shape is not None:
            yield functools.partial(_decode_examples, batch, shape, reading.resize, source.name)


def split_recordio(stream: BinaryIO, name: str) -> Iterator[bytes]:
    """Yield the data of each record; a record that was split at the magic is joined again.

    Raises: UserError if the stream is not RecordIO or ends within a record.
    """
    parts: list[bytes] = []
    try:
        for flag, data in record_framing.read_recordio(stream):
            parts.append(data)
            if flag in (0, 3):
                yield record_framing.RECORDIO_MAGIC.join(parts)
                parts = []
    except ValueError as error:
        message = f"{name}: {error}"
        raise UserError(message) from error


def pair_records(records: Iterable[bytes], name: str) -> Iterator[picture_files.Encoded]:
    """Give pictures and labels from the alternating records of an augmented manifest (IN-9)."""
    iterator = iter(records)
    for index, picture in enumerate(iterator):
        label = next(iterator, None)
        if label is None:
            message = f"{name} ends with a picture without a label; the attributes must be the image and its label"
            raise UserError(message)
        text = label.decode("utf-8", errors="replace").strip().strip('"')
        yield f"{name}, pair {index}", text, functools.partial(bytes, picture)


def read_image_records(sources: Iterable[Source]) -> Iterator[picture_files.Encoded]:
    """Give pictures and labels of RecordIO files whose records are flag, label, two numbers, then the picture.

    Raises: UserError if a record is anything else.
    """
    for source in sources:
        with source.reading() as stream:
            for index, record in enumerate(split_recordio(stream, source.name)):
                if len(record) < _IMAGE_HEADER.size or not picture_files.is_picture(
                    record[_IMAGE_HEADER.size :][:8]
                ):
                    message = f"{source.name}, record {index} is no labeled picture"
                    raise UserError(message)
                flag, label, _, _ = _IMAGE_HEADER.unpack_from(record)
                if flag:
                    message = f"{source.name}, record {index} has {flag} labels, expected one"
                    raise UserError(message)
                load = functools.partial(bytes, record[_IMAGE_HEADER.size :])
                yield f"{source.name}, record {index}", f"{label:.9g}", load


def _fail(fault: str, shape: Shape) -> Part:
    return Part(np.empty((0, *shape), np.uint8), [], str, [fault])


def _number(records: Iterator[tuple[bytes, int]]) -> Iterator[tuple[int, bytes, int] | str]:
    """Give each record its number; a stream that is damaged ends with a text that says how."""
    index = -1
    while True:
        try:
            index += 1
            data, checksum = next(records)
        except StopIteration:
            return
        except _DamagedError as error:
            yield f"record {index}: {error}"
            return
        yield index, data, checksum


def _split_tfrecords(stream: BinaryIO) -> Iterator[tuple[bytes, int]]:
    """Give data and checksum of each record.

    Raises: _DamagedError where a length is wrong or the stream ends: what follows cannot be found.
    """
    while head := stream.read(12):
        if not is_tfrecord(head):
            raise _DamagedError("its length is damaged, so that the rest of the file is lost")
        size = int.from_bytes(head[:8], "little")
        if size > _RECORD_BYTES_MAXIMUM:
            message = f"it claims {size} bytes"
            raise _DamagedError(message)
        body = stream.read(size + 4)
        if len(body) < size + 4:
            raise _DamagedError("the file ends within it")
        yield body[:size], int.from_bytes(body[size:], "little")


def _find_shape(name: str, index: int, example: bytes, reading: Reading) -> Shape:
    place = f"{name}, record {index}"
    try:
        image, _ = _parse_record(example)
    except ValueError as error:
        message = f"{place}: {error}"
        raise UserError(message) from error
    content = image[0] if isinstance(image[0], bytes) else bytes(len(image))
    if picture_files.is_picture(content):
        return picture_files.find_shape([(place, "", lambda: content)], reading.resize)
    features = _parse_example(example)
    height, width, channels = (
        int(next((features[key][0] for key in keys if features.get(key)), 0)) for keys in _SIZE_KEYS
    )
    if not (height and width):
        height = width = math.isqrt(len(content) // (channels or 1))
    shape = (height, width, channels or max(1, len(content) // max(1, height * width)))
    if math.prod(shape) != len(content):
        message = (
            f"{place} holds {len(content)} raw pixels, which is no square, and {list(shape)} does not fit: "
            "set image_shape to height, width and channels"
        )
        raise UserError(message)
    return shape


def _decode_examples(
    batch: Sequence[tuple[int, bytes, int]], shape: Shape, resize: str, name: str
) -> Part:
    images = np.empty((len(batch), *shape), np.uint8)
    labels: list[str] = []
    places, faults = [], []
    sound = find_sound(batch)
    for (index, data, _), is_sound in zip(batch, sound, strict=True):
        place = f"{name}, record {index}"
        if not is_sound:
            faults.append(f"{place}: {_WRONG}")
            continue
        try:
            image, label = _parse_record(data)
            images[len(labels)] = _to_pixels(image, shape, resize)
        except ValueError as error:
            faults.append(f"{place}: {error}")
            continue
        value = label[0]
        labels.append(
            value.decode("utf-8", errors="replace") if isinstance(value, bytes) else f"{value:.17g}"
        )
        places.append(place)
    return Part(images[: len(labels)], labels, places.__getitem__, faults)


def _parse_record(data: bytes) -> tuple[Feature, Feature]:
    """Give image and label of an Example.

    Raises: ValueError if there is none, naming the features that there are.
    """
    features = _parse_example(data)
    image = next((features[key] for key in _IMAGE_KEYS if features.get(key)), None)
    label = next((features[key] for key in _LABEL_KEYS if features.get(key)), None)
    if not image or not label:
        missing = "image" if not image else "label"
        message = (
            f"its features are {', '.join(sorted(features)) or 'none'}; one of "
            f"{', '.join(_LABEL_KEYS if image else _IMAGE_KEYS)} is expected as the {missing}"
        )
        raise ValueError(message)
    return image, label


def _to_pixels(image: Feature, shape: Shape, resize: str) -> Images:
    content = image[0]
    if isinstance(content, bytes):
        if picture_files.is_picture(content):
            return picture_files.decode(content, shape, resize)
        pixels: NDArray[Any] = np.frombuffer(content, np.uint8)
    else:
        pixels = np.array(image)
        if not ((pixels >= 0) & (pixels <= 255) & (pixels == np.floor(pixels))).all():
            raise ValueError("a pixel is no whole number from 0 to 255")
    if pixels.size != math.prod(shape):
        message = f"{pixels.size} pixels, expected {math.prod(shape)}"
        raise ValueError(message)
    return pixels.astype(np.uint8).reshape(shape)


def _parse_example(data: bytes) -> dict[str, Feature]:
    """Parse a `tf.train.Example`: field 1 is its features, whose field 1 are entries of key (1) and value (2).

    Raises: ValueError if it is not one.
    """
    try:
        return {
            key.decode("utf-8", errors="replace"): _parse_feature(value)
            for features in read_fields(data, 1)
            for entry in read_fields(features, 1)
            for key, value in zip(read_fields(entry, 1), read_fields(entry, 2), strict=True)
        }
    except (AttributeError, TypeError, ValueError, struct.error) as error:
        raise ValueError("it is not a tf.train.Example") from error


def _parse_feature(data: bytes) -> Feature:
    """Parse a `tf.train.Feature`: a list of bytes (field 1), floats (2) or integers (3), numbers packed or not."""
    for _ in read_fields(data, 1):
        return [value for part in read_fields(data, 1) for value in read_fields(part, 1)]
    for part in read_fields(data, 2):
        packed = b"".join(read_fields(part, 1))
        return list(struct.unpack(f"<{len(packed) // 4}f", packed))
    return [value for part in read_fields(data, 3) for value in read_integers(part, 1)]


def find_sound(batch: Sequence[tuple[int, bytes, int]]) -> list[bool]:
    """Return for each record, `(index, data, checksum)`, whether its data has its checksum."""
    computed = checksums.compute_masked_crcs([data for _, data, _ in batch])
    return [crc == checksum for crc, (_, _, checksum) in zip(computed, batch, strict=True)]
