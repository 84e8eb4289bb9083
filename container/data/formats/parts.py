"""What every reader takes and gives: sources, how to read them, and parts of decoded records."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from container.errors import UserError

Shape = tuple[int, int, int]
Images = NDArray[np.uint8]
Labels = NDArray[np.int64] | list[str]

PART_BYTES = (
    1 << 22
)  # of decoded images in one task: threads are fed well, and some dozen of them fit any memory


@dataclass(frozen=True)
class Reading:
    """How records are to be read; every reader uses what concerns it."""

    label_column: str = "label"
    image_shape: Shape | None = None
    """Height, width and channels; None: what the first records tell."""
    resize: str = "refuse"
    """One of `pictures.RESIZE_POLICIES`, for pictures of another size."""
    role: str = "train"
    """`train`, `validation` or `test`: which arrays are meant where a file holds several sets."""


@dataclass(frozen=True)
class Source:
    """A stream of bytes and what to call it in a message."""

    name: str
    open: Callable[[], BinaryIO]

    @contextmanager
    def reading(self) -> Iterator[BinaryIO]:
        """Open the stream, through gzip where its content says so.

        Raises: UserError with the name if opening or reading fails.
        """
        try:
            with self.open() as raw:
                packed = io.BufferedReader(raw) if isinstance(raw, io.RawIOBase) else raw
                head = packed.peek(2)[:2] if isinstance(packed, io.BufferedReader) else b""
                yield (
                    cast("BinaryIO", gzip.GzipFile(fileobj=packed))
                    if head == b"\x1f\x8b"
                    else packed
                )
        except (OSError, EOFError, zlib.error) as error:
            message = f"{self.name} cannot be read: {error}"
            raise UserError(message) from error


def from_path(path: Path) -> Source:
    """Read a file."""
    return Source(str(path), lambda: path.open("rb"))


def from_bytes(name: str, content: bytes) -> Source:
    """Read what is in memory."""
    return Source(
        name, lambda: cast("BinaryIO", io.BufferedReader(cast("io.RawIOBase", io.BytesIO(content))))
    )


@dataclass(frozen=True)
class Part:
    """Decoded records, in the order of their source."""

    images: Images
    """`[record, height, width, channel]` 0-255."""
    labels: Labels
    """One label a record, as its source writes it."""
    locate: Callable[[int], str]
    """Tells the place of a record of this part, for a message."""
    faults: list[str] = field(default_factory=list)
    """The records that could not be read: place and reason."""


Task = Callable[[], Part]
