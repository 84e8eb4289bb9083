"""The parts of an upload, held while moto completes it, as it throws them away too early.

Until the object is on disk, the upload must be able to go on.
"""

import contextlib
from collections.abc import Iterator
from typing import IO

from moto.s3.models import FakeBucket


class _Held:
    """A part's bytes, which cannot be closed."""

    def __init__(self, buffer: IO[bytes]) -> None:
        self.buffer = buffer

    def seek(self, position: int) -> int:
        """Go to a byte."""
        return self.buffer.seek(position)

    def read(self, size: int = -1) -> bytes:
        """Read from the position on."""
        return self.buffer.read(size)

    def close(self) -> None:
        """Do nothing."""


@contextlib.contextmanager
def holding(bucket: FakeBucket | None, upload_id: str) -> Iterator[None]:
    """Keep an upload in its bucket if the block raises; else free its parts when it is gone."""
    if bucket is None or upload_id not in bucket.multiparts:
        yield
        return
    upload = bucket.multiparts[upload_id]
    parts = list(upload.parts.values())
    for part in parts:
        part._value_buffer = _Held(part._value_buffer)  # noqa: SLF001 - where moto keeps the bytes
    try:
        yield
    except BaseException:
        bucket.multiparts[upload_id] = upload
        raise
    finally:
        for part in parts:
            held = part._value_buffer  # noqa: SLF001 - as above
            if upload_id in bucket.multiparts:
                part._value_buffer = held.buffer  # noqa: SLF001 - as above
                part.disposed = False
            else:
                held.buffer.close()
