"""Channels in Pipe mode: a FIFO for each epoch, fed from the channel's objects (IN-4, IN-5, IN-8).

The next epoch's FIFO appears when the reader has taken or closed the one before; an old one stays,
and blocks who opens it again, as on the platform.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import random
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from container import contract
from container.errors import UserError
from local_test.data import record_formats, storage
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
        if channel["DataSource"]["S3DataSource"]["S3DataType"] == "AugmentedManifestFile":
            for item in objects:
                _parse_augmented_manifest(item.uri)  # faults are told before the job starts
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
                self._current.open("wb", buffering=0) as fifo,
            ):  # waits for a reader
                if self._is_closed:
                    return
                try:
                    for piece in encode_epoch(self._channel, self._objects, epoch):
                        _write_all(fifo.fileno(), piece)
                except (
                    UserError
                ) as error:  # an object that vanished: the reader sees the stream end
                    self._error = error
            epoch += 1
            self._current = self._make(epoch)

    def close(self) -> None:
        """Stop feeding; a feeder that waits for a reader is released."""
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
    """Give the bytes of one epoch, object by object, in that epoch's order."""
    is_wrapped = channel.get("RecordWrapperType") == "RecordIO"
    source = channel["DataSource"]["S3DataSource"]
    if source["S3DataType"] == "AugmentedManifestFile":
        lines = [line for item in objects for line in _parse_augmented_manifest(item.uri)]
        for line in _shuffle(lines, channel, epoch):
            for name in source.get("AttributeNames", ()):
                value = _read_attribute(line, name)
                yield record_formats.encode_recordio(value) if is_wrapped else value
        return
    for item in _shuffle(objects, channel, epoch):
        body = storage.read(item.uri)
        if channel.get("CompressionType") == "Gzip":
            try:
                body = gzip.decompress(body)
            except (OSError, EOFError) as error:
                message = f"{item.uri} is not gzip: {error} (IN-5)"
                raise UserError(message) from error
        yield record_formats.encode_recordio(body) if is_wrapped else body


def _shuffle(items: Sequence[Any], channel: Mapping[str, Any], epoch: int) -> list[Any]:
    seed = channel.get("ShuffleConfig", {}).get("Seed")
    result = list(items)
    if seed is not None:
        random.Random(seed + epoch).shuffle(result)  # noqa: S311 - the request's own seed (IN-8)
    return result


def _parse_augmented_manifest(uri: str) -> list[dict[str, Any]]:
    lines = []
    for number, text in enumerate(storage.read(uri).decode("utf-8", "replace").splitlines(), 1):
        try:
            line = json.loads(text)
        except ValueError as error:
            message = f"{uri} line {number} is not JSON: {error} (IN-9)"
            raise UserError(message) from error
        if not isinstance(line, dict):
            message = f"{uri} line {number} is no JSON object (IN-9)"
            raise UserError(message)
        lines.append(line)
    return lines


def _read_attribute(line: Mapping[str, Any], name: str) -> bytes:
    """Give an attribute's bytes: those of the object that a `-ref` names, else the value's text."""
    if name not in line:
        message = f"a line of the augmented manifest has no attribute {name!r}; it has {', '.join(line)} (IN-9)"
        raise UserError(message)
    value = line[name]
    if name.endswith("-ref"):
        return storage.read(value)
    return (value if isinstance(value, str) else json.dumps(value)).encode()
