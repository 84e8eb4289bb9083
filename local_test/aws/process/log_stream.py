"""The standard streams of the local AWS: a full disk under its log never fails a request."""

import io
import os
import sys

from local_test.data import disk


class _PatientFile(io.RawIOBase):
    """Writes to a descriptor; what the disk has no room for is dropped and counted."""

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._lost_bytes = 0

    def writable(self) -> bool:
        """Return True."""
        return True

    def write(self, data: bytes | bytearray | memoryview) -> int:  # type: ignore[override]
        """Write bytes; all are taken, whether there is room or not."""
        try:
            if self._lost_bytes:
                note = f"[{self._lost_bytes} bytes of this log are missing: the disk was full]\n"
                os.write(self._descriptor, note.encode())
                self._lost_bytes = 0
            written = os.write(self._descriptor, data)
        except OSError as error:
            if not disk.is_full(error):
                raise
            written = 0
        self._lost_bytes += len(data) - written
        return len(data)


def install() -> None:
    """Let the standard streams of this process outlive a full disk."""
    for name in ("stdout", "stderr"):
        file = _PatientFile(getattr(sys, name).fileno())
        stream = io.TextIOWrapper(
            io.BufferedWriter(file),  # type: ignore[type-var] # wants more than it calls
            "utf-8",
            "backslashreplace",
            line_buffering=True,
        )
        setattr(sys, name, stream)
