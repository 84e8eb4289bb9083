"""Records: TFRecord files of `tf.train.Example`, and RecordIO streams; read without TensorFlow.

TFRecord (BT-14): u64 length, masked CRC-32C of the length, data, masked CRC-32C of the data, all
little-endian. RecordIO (IN-6): u32 magic, u32 of 3 bits flag and 29 bits length, data, padding to 4
bytes.
"""

from __future__ import annotations

import functools
import math
import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, BinaryIO, Final

import numpy as np
from numpy.typing import NDArray

from container.data.formats import picture_files
from container.data.formats.parts import PART_BYTES, Images, Part, Reading, Shape, Source, Task
from container.errors import UserError

RECORDIO_MAGIC: Final = 0xCED7230A
_IMAGE_KEYS: Final = ("image/encoded", "image/raw", "image_raw", "image", "x", "data")
_LABEL_KEYS: Final = ("image/class/label", "label", "y", "class", "image/class/text", "target")
_SIZE_KEYS: Final = (
    ("image/height", "height", "rows"),
    ("image/width", "width", "cols"),
    ("image/channels", "channels", "depth", "image/depth"),
)
_WRONG: Final = "its checksum is wrong"
_RECORD_BYTES_MAXIMUM: Final = 1 << 30
_LANE_BYTES: Final = 256
_IMAGE_HEADER: Final = struct.Struct("<IfQQ")

Feature = list[bytes] | list[int] | list[float]


class _DamagedError(ValueError):
    """The rest of a stream cannot be read."""


def is_tfrecord(head: bytes) -> bool:
    """Tell whether a file that begins with `head` is TFRecord: the checksum of its first length is right."""
    return len(head) >= 12 and _mask(_crc_of_bytes(head[:8])) == int.from_bytes(
        head[8:12], "little"
    )


def is_recordio(head: bytes) -> bool:
    """Tell whether a stream that begins with `head` is RecordIO."""
    return head[:4] == RECORDIO_MAGIC.to_bytes(4, "little")


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
                    if not check([item])[0]:
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
    """Give the data of each record; parts of one record (flags 1, 2, 3) are joined as they were cut, at the magic.

    Raises: UserError if the stream is no RecordIO or ends within a record.
    """
    magic = RECORDIO_MAGIC.to_bytes(4, "little")
    parts: list[bytes] = []
    position = 0
    while head := stream.read(8):
        if len(head) < 8 or head[:4] != magic:
            message = f"{name}: no RecordIO record begins at byte {position}"
            raise UserError(message)
        word = int.from_bytes(head[4:], "little")
        flag, size = word >> 29, word & (1 << 29) - 1
        data = stream.read(size)
        stream.read(-size % 4)
        if len(data) < size:
            message = f"{name} ends within the RecordIO record at byte {position}"
            raise UserError(message)
        position += 8 + size + -size % 4
        parts.append(data)
        if flag in (0, 3):
            yield magic.join(parts)
            parts = []


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
    sound = check(batch)
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

    Raises: ValueError if it is none.
    """
    try:
        return {
            key.decode("utf-8", errors="replace"): _parse_feature(value)
            for features in _fields(data, 1)
            for entry in _fields(features, 1)
            for key, value in zip(_fields(entry, 1), _fields(entry, 2), strict=True)
        }
    except (IndexError, struct.error, ValueError) as error:
        raise ValueError("it is no tf.train.Example") from error


def _parse_feature(data: bytes) -> Feature:
    """Parse a `tf.train.Feature`: a list of bytes (field 1), floats (2) or integers (3), numbers packed or not."""
    for _ in _fields(data, 1):
        return [value for part in _fields(data, 1) for value in _fields(part, 1)]
    for part in _fields(data, 2):
        packed = b"".join(_fields(part, 1))
        return list(struct.unpack(f"<{len(packed) // 4}f", packed))
    return [
        value - (1 << 64) if value >> 63 else value
        for part in _fields(data, 3)
        for packed in _fields(part, 1)
        for value in (_varints(packed) if isinstance(packed, bytes) else [packed])
    ]


def _fields(data: Any, wanted: int) -> list[Any]:
    """Give the values of one field of a protocol buffer: bytes, or an integer where it is a varint.

    Raises: ValueError, IndexError if `data` is no message, such as an integer that stands in a
    message's place.
    """
    if not isinstance(data, bytes):
        raise ValueError("a number stands where a message is expected")  # noqa: TRY004 - the data are wrong
    values: list[Any] = []
    position = 0
    while position < len(data):
        tag, position = _varint(data, position)
        if tag & 7 == 0:
            value, end = _varint(data, position)
        elif tag & 7 in (1, 5):
            end = position + (8 if tag & 7 == 1 else 4)
            value = data[position:end]  # type: ignore[assignment]
        elif tag & 7 == 2:
            size, position = _varint(data, position)
            end = position + size
            value = data[position:end]  # type: ignore[assignment]
        else:
            raise ValueError(tag)
        if end > len(data):
            raise ValueError(end)
        if tag >> 3 == wanted:
            values.append(value)
        position = end
    return values


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = data[position]
    position += 1
    if value < 128:
        return value, position
    value &= 127
    for shift in range(7, 70, 7):
        byte = data[position]
        position += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, position
    raise ValueError("a number is too long")


def _varints(data: bytes) -> Iterator[int]:
    position = 0
    while position < len(data):
        value, position = _varint(data, position)
        yield value


def check(batch: Sequence[tuple[int, bytes, int]]) -> list[bool]:
    """Tell of each record whether its data has its checksum.

    A CRC is linear, so 256 bytes are one sum of table look-ups, done for many lanes at once; the
    lanes of a record are then joined by the same trick. Zeros in front change nothing once the
    register's initial ones are written into the data's first four bytes.
    """
    by_lanes: dict[int, list[int]] = {}
    for position, (_, data, _) in enumerate(batch):
        by_lanes.setdefault(-(-max(len(data), 1) // _LANE_BYTES), []).append(position)
    sound = [False] * len(batch)
    for lanes, positions in by_lanes.items():
        padded = np.zeros((len(positions), lanes * _LANE_BYTES), np.uint8)
        for row, position in zip(padded, positions, strict=True):
            data = batch[position][1]
            if len(data) < 4:
                continue
            row[len(row) - len(data) :] = np.frombuffer(data, np.uint8)
            row[len(row) - len(data) :][:4] ^= 255
        registers = _sum_lanes(padded.reshape(-1, _LANE_BYTES)).reshape(len(positions), lanes)
        joined = registers[:, 0]
        for lane in range(1, lanes):
            joined = _shift_lane(joined) ^ registers[:, lane]
        for register, position in zip(joined.tolist(), positions, strict=True):
            _, data, checksum = batch[position]
            crc = register ^ 0xFFFFFFFF if len(data) >= 4 else _crc_of_bytes(data)
            sound[position] = _mask(crc) == checksum
    return sound


def _mask(crc: int) -> int:
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


@functools.cache
def _byte_table() -> NDArray[np.uint32]:
    """Give what each value of the register's low byte becomes, `[256]`; Castagnoli's polynomial, reflected."""
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, table >> 1 ^ np.uint32(0x82F63B78), table >> 1)
    return table


def _crc_of_bytes(data: bytes) -> int:
    table, register = _byte_table(), 0xFFFFFFFF
    for byte in data:
        register = int(table[(register ^ byte) & 255]) ^ register >> 8
    return register ^ 0xFFFFFFFF


@functools.cache
def _lane_tables() -> NDArray[np.uint32]:
    """Give `[position, byte]`: what a byte at a position of a lane adds to the lane's register."""
    tables = np.empty((_LANE_BYTES, 256), np.uint32)
    tables[-1] = _byte_table()
    for position in range(_LANE_BYTES - 2, -1, -1):
        later = tables[position + 1]
        tables[position] = tables[-1][later & 255] ^ later >> 8
    return tables


def _sum_lanes(lanes: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """Give the register after each lane `[lane, 256] uint8`, from 0."""
    tables, columns = _lane_tables(), np.ascontiguousarray(lanes.T)
    register: NDArray[np.uint32] = tables[0].take(columns[0])
    for position in range(1, _LANE_BYTES):
        register ^= tables[position].take(columns[position])
    return register


def _shift_lane(register: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Move registers on by a lane of zeros: their four bytes are a lane's first, since the register is xor-ed in."""
    tables = _lane_tables()
    moved: NDArray[np.uint32] = tables[0][register & 255]
    for byte in (1, 2, 3):
        moved ^= tables[byte][register >> 8 * byte & 255]
    return moved
