"""What tests of every ring share: places in the checkout, free ports, and waiting."""

from __future__ import annotations

import contextlib
import fcntl
import os
import resource
import socket
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import pytest

from container.data.formats.checksums import compute_masked_crc

if TYPE_CHECKING:
    from local_test.endpoints.endpoint import Endpoint

ROOT = Path(__file__).resolve().parents[1]
"""The checkout."""
PROGRAMS = ROOT / "tests/contract/programs"
"""Programs that play a user's container."""
USER_CODE = ROOT / "tests/contract/byo"
"""Scripts, handlers and typed algorithms, as users write them."""

Value = TypeVar("Value")
PATIENCE_S = 180
"""Of a test that waits for what must happen, also on a machine with much else to do."""


def wait_until(
    condition: Callable[[], Value],
    what: str = "the condition was met",
    timeout_s: float = PATIENCE_S,
) -> Value:
    """Poll until `condition` returns something true, and return that.

    Raises: AssertionError after `timeout_s`, naming `what`.
    """
    pauses = _Pauses(timeout_s, 0.01)
    while not (value := condition()):
        assert pauses.pause(), f"not within {timeout_s:g} s: {what}"
    return value


def wait_for(
    look: Callable[[], Value], is_there: Callable[[Value], bool], timeout_s: float = PATIENCE_S
) -> Value:
    """Call `look` until `is_there` accepts what it returns, and return that.

    Raises: AssertionError after `timeout_s`, naming what was seen last.
    """
    pauses = _Pauses(timeout_s, 0.05)
    while not is_there(seen := look()):
        assert pauses.pause(), f"not within {timeout_s:g} s; last seen: {seen}"
    return seen


class _Pauses:
    """Pauses of a poll, which grow: what takes long is looked at less often."""

    def __init__(self, timeout_s: float, first_s: float) -> None:
        self._deadline = time.monotonic() + timeout_s
        self._pause_s = first_s

    def pause(self) -> bool:
        """Sleep; return False if the time is over."""
        time.sleep(self._pause_s)
        self._pause_s = min(0.2, 1.1 * self._pause_s)
        return time.monotonic() < self._deadline


def encode_tfrecord(payload: bytes) -> bytes:
    """Frame one record: length and payload, each with its checksum."""
    pieces = (struct.pack("<Q", len(payload)), payload)
    return b"".join(piece + struct.pack("<I", compute_masked_crc(piece)) for piece in pieces)


def list_loaded_models(endpoint: Endpoint) -> dict[str, list[str]]:
    """List the loaded targets of each multi-model server, the least recently used first."""
    return {
        place.server.name: place.cache.loaded
        for variant in endpoint.deployment.current.variants
        for replica in variant.replicas
        for place in replica.places
        if place.cache is not None
    }


def free_port() -> int:
    """Return a port of loopback that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def file_size_limit(size_bytes: int) -> Iterator[None]:
    """Let writes of this process beyond a file's first bytes fail, as they do on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def share(factory: pytest.TempPathFactory, name: str, make: Callable[[], Path]) -> Path:
    """Return the directory that `make` makes, once for all workers of a run. Read-only."""
    root = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent
    record = root / f"{name}.path"
    with (root / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not record.exists():
            record.write_text(str(make()))
    return Path(record.read_text())
