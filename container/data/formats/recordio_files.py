"""RecordIO: MXNet's image records, and the pictures and labels of an augmented manifest.

`container.record_framing` describes the framing.
"""

import functools
import json
import struct
from collections.abc import Iterable, Iterator
from typing import BinaryIO, Final

import numpy as np

from container import record_framing
from container.data.formats import picture_files
from container.data.formats.parts import UTF_8, Source, decode_label, write_label
from container.errors import UserError

_IMAGE_HEADER: Final = struct.Struct("<IfQQ")
"""Number of labels or 0 for one, label, two numbers without use here; the picture follows."""


def is_recordio(head: bytes) -> bool:
    """Return whether `head` begins a RecordIO stream."""
    return head.startswith(record_framing.RECORDIO_MAGIC)


def split(stream: BinaryIO, name: str) -> Iterator[bytes]:
    """Yield the data of each record; a record that was split at the magic is joined again.

    Raises: UserError if the stream is not RecordIO or ends within a record.
    """
    parts: list[bytes] = []
    try:
        for flag, data in record_framing.read_recordio(stream):
            if (flag in (0, 1)) == bool(parts):
                raise UserError(f"{name}: the pieces of a record are out of order")
            parts.append(data)
            if flag in (0, 3):
                yield record_framing.RECORDIO_MAGIC.join(parts)
                parts = []
    except ValueError as error:
        raise UserError(f"{name}: {error}") from error
    if parts:
        raise UserError(f"{name}: it ends within a record of several pieces")


def read(sources: Iterable[Source]) -> Iterator[picture_files.Encoded]:
    """Yield the labeled pictures of files of image records.

    Raises: UserError if a record is not a picture with one label.
    """
    for source in sources:
        with source.reading() as stream:
            for index, record in enumerate(split(stream, source.name)):
                place = f"{source.name}, record {index}"
                picture = record[_IMAGE_HEADER.size :]
                if not picture_files.is_picture(picture[:12]):
                    raise UserError(f"{place} is not a labeled picture")
                label_count, label, _, _ = _IMAGE_HEADER.unpack_from(record)
                if label_count:
                    raise UserError(f"{place} has {label_count} labels, expected one")
                yield (
                    place,
                    write_label(np.float32(label), UTF_8),
                    functools.partial(bytes, picture),
                )


def pair(
    records: Iterable[bytes], name: str, charset: str = UTF_8
) -> Iterator[picture_files.Encoded]:
    """Yield the labeled pictures of an augmented manifest, whose records alternate (IN-9).

    Raises: UserError if the last picture has no label.
    """
    iterator = iter(records)
    for index, picture in enumerate(iterator):
        label = next(iterator, None)
        if label is None:
            raise UserError(
                f"{name} ends with a picture without a label; the attributes must be the image and "
                "its label"
            )
        text, fault = "", ""
        try:
            text = _unquote(decode_label(label, charset).strip())
        except ValueError as error:
            fault = str(error)
        load = functools.partial(picture_files.load_bytes, picture, fault)
        yield f"{name}, pair {index}", text, load


def _unquote(text: str) -> str:
    """Return the label that an attribute is, which JSON may have written.

    Raises: ValueError if it is several labels, or null.
    """
    if not text.startswith(('"', "[", "{")) and text != "null":
        return text
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    if isinstance(value, str):
        return value.strip()
    raise ValueError(f"its label {text[:40]} is not a single number or text")
