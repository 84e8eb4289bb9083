"""Reading one epoch of a channel in Pipe mode."""

import io
import itertools
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, Final

from container.data import detection
from container.data.formats import csv_files, picture_files, recordio_files, tfrecord_files
from container.data.formats.parts import Options, Source, Task, from_bytes
from container.errors import PlatformError, UserError

_WAIT_S: Final = 600.0
_POLL_S: Final = 0.02
_READERS: Final[dict[str, Callable[[Iterable[Source], Options], Iterator[Task]]]] = {
    "csv": csv_files.read,
    "tfrecord": tfrecord_files.read,
}
"""Readers of the formats that are a stream of records."""


def read_pipe(
    fifo: Path, options: Options, content_type: str | None, *, wrapped: bool
) -> Iterator[Task]:
    """Read the objects of one epoch, one after another (IN-5), or each as a RecordIO record.

    Raises: UserError if the format cannot be read from a pipe; PlatformError if the pipe does not
    appear.
    """
    expected = detection.expect_format(options.data_format, content_type)
    with Source(str(fifo), lambda: _open(fifo)).reading() as stream:
        if wrapped:
            yield from _read_wrapped(stream, fifo, options, expected)
            return
        head = stream.peek(detection.HEAD_BYTES) if isinstance(stream, io.BufferedReader) else b""
        found = expected or detection.recognize_content(head) or "csv"
        if found not in _READERS:
            raise UserError(
                f"{fifo}: a pipe without a RecordIO wrapper carries csv or tfrecord, not {found}"
            )
        yield from _READERS[found]([Source(str(fifo), lambda: stream)], options)


def _read_wrapped(stream: BinaryIO, fifo: Path, options: Options, expected: str) -> Iterator[Task]:
    records = recordio_files.split(stream, str(fifo))
    first = next(records, None)
    if first is None:
        return
    records = itertools.chain([first], records)
    found = detection.recognize_content(first[: detection.HEAD_BYTES])
    if found == "images":
        yield from picture_files.read(
            recordio_files.pair(records, str(fifo), options.charset), options
        )
        return
    read = _READERS.get(found) or _READERS.get(expected)
    if read is None:
        raise UserError(
            f"{fifo}: its records begin with {first[:8]!r}; expected pictures with labels, csv or "
            "tfrecord"
        )
    objects = (from_bytes(f"{fifo}, object {i}", data) for i, data in enumerate(records))
    yield from read(objects, options)


def _open(fifo: Path) -> BinaryIO:
    """Wait until the platform has created the pipe, then for its writer (IN-4)."""
    deadline = time.monotonic() + _WAIT_S
    while not fifo.exists():
        if time.monotonic() > deadline:
            raise PlatformError(f"the pipe {fifo} did not appear within {_WAIT_S:.0f} s")
        time.sleep(_POLL_S)
    return fifo.open("rb")
