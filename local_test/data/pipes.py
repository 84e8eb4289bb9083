"""Channels in Pipe mode: a FIFO for each epoch, fed from the channel's objects (IN-4, IN-5, IN-8).

The next epoch's FIFO appears when the reader has read or closed the previous one. An old one stays,
and blocks whoever opens it again, as on the platform.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from container import contract
from container.errors import UserError
from local_test.data import channels, record_formats, storage
from local_test.data.storage import StoredObject


class Pipe:
    """Feeds one channel of one host until `close`."""

    def __init__(
        self, channel: Mapping[str, Any], objects: Sequence[StoredObject], layout: contract.Layout
    ) -> None:
        """Make the first epoch's FIFO and wait for its reader in the background.

        Raises: UserError if an augmented manifest cannot be read.
        """
        self._channel = channel
        self._objects = objects
        self._layout = layout
        self._is_closed = False
        self._fifos: list[Path] = []
        self._current = self._make(0)
        self._error: OSError | UserError | None = None
        if _has_augmented_manifest(channel):
            for item in objects:
                _parse_augmented_manifest(item.uri)  # report faults before the job starts
        self._thread = threading.Thread(
            target=self._feed, daemon=True, name=f"pipe {channel['ChannelName']}"
        )
        self._thread.start()

    def _make(self, epoch: int) -> Path:
        path = self._layout.pipe(self._channel["ChannelName"], epoch)
        path.parent.mkdir(parents=True, exist_ok=True)
        os.mkfifo(path)
        self._fifos.append(path)
        return path

    def _feed(self) -> None:
        epoch = 0
        while not self._is_closed:
            with (
                contextlib.suppress(BrokenPipeError),
                self._current.open("wb", buffering=0) as fifo,  # waits for a reader
            ):
                if self._is_closed:
                    return
                try:
                    for piece in encode_epoch(self._channel, self._objects, epoch):
                        _write_all(fifo.fileno(), piece)
                except UserError as error:  # an object has vanished: the reader sees the end
                    self._error = error
            epoch += 1
            self._current = self._make(epoch)

    def close(self) -> None:
        """Stop feeding, and release a feeder that waits for a reader."""
        self._is_closed = True
        while self._thread.is_alive():
            with contextlib.suppress(OSError):
                os.close(os.open(self._current, os.O_RDONLY | os.O_NONBLOCK))
            self._thread.join(0.02)
        for fifo in self._fifos:
            fifo.unlink(missing_ok=True)
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
                yield encode(_read_attribute(line, name))
    else:
        for item in channels.shuffle(objects, channel, epoch):
            yield encode(_read_object(item.uri, channel.get("CompressionType")))


def _read_object(uri: str, compression: str | None) -> bytes:
    body = storage.read(uri)
    if compression != "Gzip":
        return body
    try:
        return gzip.decompress(body)
    except (OSError, EOFError) as error:
        message = f"{uri} is not a gzip file: {error} (IN-5)"
        raise UserError(message) from error


def _has_augmented_manifest(channel: Mapping[str, Any]) -> bool:
    return bool(channels.source_of(channel)["S3DataType"] == "AugmentedManifestFile")


def _parse_augmented_manifest(uri: str) -> list[dict[str, Any]]:
    lines = []
    for number, text in enumerate(storage.read(uri).decode("utf-8", "replace").splitlines(), 1):
        try:
            line = json.loads(text)
        except ValueError as error:
            message = f"{uri} line {number} is not JSON: {error} (IN-9)"
            raise UserError(message) from error
        if not isinstance(line, dict):
            message = f"{uri} line {number} is not a JSON object (IN-9)"
            raise UserError(message)
        lines.append(line)
    return lines


def _read_attribute(line: Mapping[str, Any], name: str) -> bytes:
    """Return the object that a `-ref` attribute names, or the value of another one as text."""
    if name not in line:
        message = (
            f"a line of the augmented manifest has no attribute {name!r}; "
            f"it has {', '.join(line)} (IN-9)"
        )
        raise UserError(message)
    value = line[name]
    if name.endswith("-ref"):
        return storage.read(value)
    if isinstance(value, str):
        return value.encode()
    return json.dumps(value).encode()
