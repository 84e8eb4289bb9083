"""Channels in Pipe mode: a FIFO for each epoch, fed from the channel's objects (IN-4, IN-5, IN-8).

The input of a processing job is such a channel, too.

The next epoch's FIFO appears when the reader has read or closed the previous one. An old one stays,
and blocks whoever opens it again, as on the platform.
"""

import contextlib
import errno
import json
import os
import stat
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from container.errors import UserError
from local_test.data import channels, record_formats, storage, unpacking
from local_test.data.storage import StoredObject


class Pipe:
    """Feeds one channel of one host until `close`."""

    def __init__(
        self, channel: Mapping[str, Any], objects: Sequence[StoredObject], place: Path
    ) -> None:
        """Make the first epoch's FIFO, `place` and `_0`; wait for its reader in the background.

        Raises: UserError if an augmented manifest cannot be read.
        """
        self._channel = channel
        self._objects = objects
        self._name = place.name
        self._is_closed = False
        self._error: UserError | None = None
        if _has_augmented_manifest(channel):
            for item in objects:
                _parse_augmented_manifest(item.uri)  # report faults before the job starts
        place.parent.mkdir(parents=True, exist_ok=True)
        # Held open, since a container may move the directory and put a link in its place.
        self._directory = os.open(place.parent, os.O_RDONLY | os.O_DIRECTORY)
        self._fifos: list[str] = []
        self._fifo: int | None = None
        self._opening = threading.Lock()
        self._make(0)
        self._thread = threading.Thread(target=self._feed, daemon=True, name=f"pipe {place.name}")
        self._thread.start()

    def _make(self, epoch: int) -> None:
        """Make a FIFO and, on Linux, keep hold of it, whatever its name becomes.

        Raises: OSError if that is not possible.
        """
        name = f"{self._name}_{epoch}"
        os.mkfifo(name, dir_fd=self._directory)
        self._fifos.append(name)
        if sys.platform != "linux":
            return
        held = os.open(name, os.O_PATH | os.O_NOFOLLOW, dir_fd=self._directory)
        if not stat.S_ISFIFO(os.fstat(held).st_mode):
            os.close(held)
            raise FileExistsError(errno.EEXIST, "another file took the place of the FIFO", name)
        with self._opening:
            self._release()
            self._fifo = held

    def _open(self, flags: int) -> int:
        if self._fifo is None:
            return os.open(self._fifos[-1], flags | os.O_NOFOLLOW, dir_fd=self._directory)
        return os.open(f"/proc/self/fd/{self._fifo}", flags)

    def _release(self) -> None:
        if self._fifo is not None:
            os.close(self._fifo)

    def _feed(self) -> None:
        epoch = 0
        try:
            while not self._is_closed:
                with (
                    contextlib.suppress(BrokenPipeError),
                    os.fdopen(self._open(os.O_WRONLY), "wb", 0) as fifo,  # waits for a reader
                ):
                    if self._is_closed:
                        return
                    self._write(fifo, epoch)
                epoch += 1
                self._make(epoch)
        except OSError as error:  # the container has written where the next FIFO belongs
            message = f"channel {self._name!r} ends early: {error} (IN-4)"
            self._error = UserError(message)

    def _write(self, fifo: BinaryIO, epoch: int) -> None:
        try:
            for piece in encode_epoch(self._channel, self._objects, epoch):
                _write_all(fifo.fileno(), piece)
        except UserError as error:  # an object has vanished: the reader sees the end
            self._error = error

    def close(self) -> None:
        """Stop feeding, and release a feeder that waits for a reader.

        Raises: UserError if an object could not be read, or a FIFO not be made.
        """
        self._is_closed = True
        while self._thread.is_alive():
            with contextlib.suppress(OSError), self._opening:
                os.close(self._open(os.O_RDONLY | os.O_NONBLOCK))
            self._thread.join(0.02)
        for name in self._fifos:
            with contextlib.suppress(OSError):
                os.unlink(name, dir_fd=self._directory)
        self._release()
        os.close(self._directory)
        if self._error is not None:
            raise self._error


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def encode_epoch(
    channel: Mapping[str, Any], objects: Sequence[StoredObject], epoch: int
) -> Iterator[bytes]:
    """Yield the bytes of one epoch, in that epoch's order (IN-5, IN-8)."""
    encode: Callable[[bytes], bytes] = bytes
    if channel.get("RecordWrapperType") == "RecordIO":
        encode = record_formats.encode_recordio
    if _has_augmented_manifest(channel):
        names = channels.source_of(channel).get("AttributeNames", ())
        lines = [line for item in objects for line in _parse_augmented_manifest(item.uri)]
        for line in channels.shuffle(lines, channel, epoch):
            for name in names:
                yield encode(_read_attribute(line, name, channels.source_of(channel)["S3Uri"]))
    else:
        for item in channels.shuffle(objects, channel, epoch):
            yield encode(_read_object(item.uri, channel.get("CompressionType")))


def _read_object(uri: str, compression: str | None) -> bytes:
    body = storage.read(uri)
    if compression != "Gzip":
        return body
    try:
        return unpacking.decompress_gzip(body)
    except ValueError as error:
        raise UserError(f"{uri} cannot be decompressed as gzip: {error} (IN-5)") from error


def _has_augmented_manifest(channel: Mapping[str, Any]) -> bool:
    return bool(channels.source_of(channel)["S3DataType"] == "AugmentedManifestFile")


def _parse_augmented_manifest(uri: str) -> list[dict[str, Any]]:
    lines = []
    try:
        document = storage.read(uri).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{uri} is not UTF-8, as JSON lines are: {error} (IN-9)") from error
    # Not `splitlines`: a JSON text may hold the other line ends of Unicode.
    for number, text in enumerate(document.split("\n"), 1):
        if not text.strip():
            continue
        try:
            line = record_formats.read_json(text)
        except (ValueError, RecursionError) as error:
            raise UserError(f"{uri} line {number} is not JSON: {error} (IN-9)") from error
        if not isinstance(line, dict):
            raise UserError(f"{uri} line {number} is not a JSON object (IN-9)")
        lines.append(line)
    if not lines:
        raise UserError(f"the augmented manifest {uri} has no lines (IN-9)")
    return lines


def _read_attribute(line: Mapping[str, Any], name: str, source: str) -> bytes:
    """Return the object that a `-ref` attribute names, or the value of another one as text."""
    if name not in line:
        raise UserError(
            f"a line of the augmented manifest has no attribute {name!r}; "
            f"it has {', '.join(line)} (IN-9)"
        )
    value = line[name]
    if name.endswith("-ref"):
        storage.check_reference(source, str(value))
        return storage.read(str(value))
    if isinstance(value, str):
        return value.encode()
    return json.dumps(value).encode()
