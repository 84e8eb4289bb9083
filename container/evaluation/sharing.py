"""Shares an evaluation between the hosts of a processing job (PR-6); the first one writes it.

A host whose input is sharded (`ShardedByS3Key`) evaluates all of its files. Of a test set that
every host has, host `r` of `n` evaluates the rows `r`, `r + n` and so on. The other hosts connect
to the first one, send labels, probabilities and the pictures of their worst mistakes when they are
done, and wait until the report is written.

A message is eight bytes with a length, then an npz archive.
"""

import contextlib
import dataclasses
import io
import socket
import struct
import time
import zipfile
from collections.abc import Iterator, Mapping
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from container import contract, machine
from container.data.images import LabeledImages
from container.errors import PlatformError, UserError
from container.evaluation import report

PORT_VARIABLE: Final = "MASTER_PORT"
_PORT: Final = 8891
_MEETING_S: Final = 900.0  # as long as names of hosts may be unknown (DS-4)
_LENGTH: Final = struct.Struct("!Q")
_WRITTEN: Final = b"written"

Results: TypeAlias = dict[str, NDArray[Any]]


class Hosts:
    """The hosts of a processing job, as this one sees them; a single host has no connections."""

    def __init__(
        self, resources: contract.Resources, environ: Mapping[str, str], *, is_sharded: bool
    ) -> None:
        """Take the job's hosts; `is_sharded` means that each host has files of its own."""
        self.names = resources.hosts
        self.rank = resources.rank
        self.is_sharded = is_sharded and len(self.names) > 1
        self._port = int(environ.get(PORT_VARIABLE) or _PORT)
        self._connections: dict[str, socket.socket] = {}

    @contextlib.contextmanager
    def meeting(self) -> Iterator[None]:
        """Connect the hosts; at the end of the context, the report is written or never will be.

        Raises: PlatformError if a host does not appear; UserError if one reports an error.
        """
        with contextlib.ExitStack() as connections:
            if self.rank:
                first = connections.enter_context(_connect(self.names[0], self._port))
                self._connections = {self.names[0]: first}
                try:
                    self._send({"host": np.array(self.names[self.rank])})
                    yield
                except (UserError, PlatformError) as error:
                    with contextlib.suppress(PlatformError):
                        self._send({"error": np.array(str(error))})
                    raise
            elif len(self.names) > 1:
                self._connections = self._accept_all(connections)
                yield
                for connection in self._connections.values():
                    with contextlib.suppress(OSError):
                        connection.sendall(_WRITTEN)
            else:
                yield

    def take_share(self, labeled: LabeledImages) -> LabeledImages:
        """Return the part of the test set that this host evaluates."""
        if self.is_sharded or len(self.names) == 1:
            return labeled
        share = slice(self.rank, None, len(self.names))
        rows = np.arange(len(labeled.labels))[share]
        names = tuple(map(labeled.locate, rows.tolist()))
        return dataclasses.replace(
            labeled,
            images=labeled.images[share],
            labels=labeled.labels[share],
            names=names,
            prints=None,
        )

    def send(self, labeled: LabeledImages, probabilities: NDArray[Any]) -> None:
        """Send this host's results to the first one, and wait until it has written the report.

        Raises: PlatformError if the first host is lost, or fails.
        """
        first = self._connections[self.names[0]]
        rows = report.find_worst(labeled.labels, probabilities)
        results = {"labels": labeled.labels, "probabilities": probabilities}
        self._send({**results, **_describe_worst(labeled, rows)})
        if _receive(first, len(_WRITTEN)) != _WRITTEN:
            message = f"{self.names[0]}, which writes the report, ended before it was written"
            raise PlatformError(message)

    def _send(self, arrays: Results) -> None:
        archive = io.BytesIO()
        np.savez(archive, allow_pickle=False, **arrays)
        content = archive.getbuffer()
        first = self.names[0]
        try:
            self._connections[first].sendall(_LENGTH.pack(len(content)))
            self._connections[first].sendall(content)
        except OSError as error:
            raise PlatformError(f"{first}, which writes the report, is lost: {error}") from error

    def merge(
        self, labeled: LabeledImages, probabilities: NDArray[Any]
    ) -> tuple[LabeledImages, NDArray[Any]]:
        """Return all hosts' results, in the order of hosts, or of the rows of a common test set.

        Of the images only those of the worst mistakes are there; the others are black.

        Raises: PlatformError if a host is lost; UserError if one reports an error.
        """
        if not self._connections:
            return labeled, probabilities
        rows = report.find_worst(labeled.labels, probabilities)
        first: Results = {"labels": labeled.labels, "probabilities": probabilities}
        first |= _describe_worst(labeled, rows)
        parts = [first, *map(self._read_results, self.names[1:])]
        places = self._place([len(part["labels"]) for part in parts])
        count = sum(map(len, places))
        shape = labeled.images.shape[1:]
        labels = np.zeros(count, labeled.labels.dtype)
        merged = np.zeros((count, probabilities.shape[1]), probabilities.dtype)
        images = np.zeros((count, *shape), np.uint8)  # pages that stay zero take no memory
        names = [""] * count
        for place, part in zip(places, parts, strict=True):
            labels[place] = part["labels"]
            merged[place] = part["probabilities"]
            images[place[part["rows"]]] = part["pictures"]
            for row, name in zip(part["rows"], part["names"], strict=True):
                names[place[row]] = str(name)
        return LabeledImages(images, labels, labeled.classes, names=tuple(names)), merged

    def _place(self, counts: list[int]) -> list[NDArray[np.int64]]:
        """Return the rows of the merged set that each host's rows become."""
        total, hosts = sum(counts), len(counts)
        if not self.is_sharded:
            return [np.arange(rank, total, hosts) for rank in range(hosts)]
        ends = np.cumsum(counts)
        return [np.arange(end - count, end) for end, count in zip(ends, counts, strict=True)]

    def _read_results(self, host: str) -> Results:
        results = _read(self._connections[host], host)
        if "error" in results:
            raise UserError(f"{host}: {results['error']}")
        return results

    def _accept_all(self, connections: contextlib.ExitStack) -> dict[str, socket.socket]:
        deadline = time.monotonic() + _MEETING_S
        found: dict[str, socket.socket] = {}
        with machine.listen_for_hosts(self._port, len(self.names)) as server:
            while missing := sorted(set(self.names[1:]) - set(found)):
                server.settimeout(max(0.001, deadline - time.monotonic()))
                try:
                    connection, _ = server.accept()
                except TimeoutError as error:
                    message = f"{', '.join(missing)} did not connect within {_MEETING_S:g} s"
                    raise PlatformError(message) from error
                connections.enter_context(connection)
                connection.settimeout(10.0)
                with contextlib.suppress(PlatformError, TimeoutError):
                    host = str(_read(connection, "a host").get("host"))
                    if host in missing:
                        found[host] = connection
                connection.settimeout(None)
        return found


def _describe_worst(labeled: LabeledImages, rows: NDArray[np.int64]) -> Results:
    """Return the worst mistakes with their pictures and places."""
    names = [labeled.locate(int(row)) for row in rows]
    return {"rows": rows, "pictures": labeled.images[rows], "names": np.array(names, np.str_)}


def _connect(host: str, port: int) -> socket.socket:
    deadline = time.monotonic() + _MEETING_S
    wait_s = 0.05
    while True:
        try:
            connection = socket.create_connection((host, port), timeout=10.0)
        except OSError as error:
            if time.monotonic() + wait_s > deadline:
                message = f"{host}:{port}, which writes the report, cannot be reached: {error}"
                raise PlatformError(message) from error
            time.sleep(wait_s)
            wait_s = min(2 * wait_s, 1.0)
        else:
            connection.settimeout(None)
            return connection


def _read(connection: socket.socket, host: str) -> Results:
    head = _receive(connection, _LENGTH.size)
    content = b""
    if len(head) == _LENGTH.size:
        (size,) = _LENGTH.unpack(head)
        content = _receive(connection, size)
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            return dict(archive)
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise PlatformError(f"{host} ended before it sent its part of the evaluation") from error


def _receive(connection: socket.socket, size: int) -> bytes:
    """Return the next `size` bytes, or fewer if the connection ends."""
    content = bytearray()
    with contextlib.suppress(ConnectionError):
        while piece := connection.recv(min(size - len(content), 1 << 20)):
            content += piece
    return bytes(content)
