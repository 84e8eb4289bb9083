"""What readers share: options, sources of bytes, and parts of decoded records."""

import gzip
import io
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

import numpy as np
from numpy.typing import NDArray

from container.errors import UserError

Shape = tuple[int, int, int]
Images = NDArray[np.uint8]
Labels = NDArray[np.int64] | list[str]

Label = int | str

UTF_8: Final = "utf-8"
_JUNK: Final = frozenset(
    (
        *("__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "@eadir", "#recycle"),
        *("$recycle.bin", "system volume information", "lost+found"),
    )
)
"""What systems and disk stations leave in directories and archives, in small letters."""
NOTES: Final = (
    *(".py", ".pyc", ".ipynb", ".r", ".sh", ".md", ".rst", ".xml", ".yaml", ".yml", ".toml"),
    *(".ini", ".html", ".pdf", ".json", ".jsonl"),
)
"""Suffixes of code and notes, which no reader takes for records whatever they hold."""
LABEL_COLUMN: Final = "label"
MISSING_LABELS: Final = ("", "nan")
"""What stands for a label that is missing; pandas and NumPy write the second."""

# Decoded bytes of one task: enough to keep threads busy, and some dozen tasks fit any memory.
PART_BYTES = 1 << 22


@dataclass(frozen=True)
class Source:
    """A stream of bytes and what to call it in a message."""

    name: str
    open: Callable[[], BinaryIO]

    @contextmanager
    def reading(self) -> Iterator[BinaryIO]:
        """Open the stream, and decompress it if its content is gzip.

        Raises: UserError with the name if opening or reading fails.
        """
        try:
            with self.open() as raw:
                packed = io.BufferedReader(raw) if isinstance(raw, io.RawIOBase) else raw
                head = packed.peek(2)[:2] if isinstance(packed, io.BufferedReader) else b""
                is_gzip = head == b"\x1f\x8b"
                yield cast("BinaryIO", gzip.GzipFile(fileobj=packed)) if is_gzip else packed
        except (OSError, EOFError, zlib.error) as error:
            raise UserError(f"{self.name} cannot be read: {error}") from error


def is_hidden(name: str) -> bool:
    """Return whether a file or directory of this name is passed over (IN-11)."""
    return name.startswith(".") or name.casefold() in _JUNK


def from_path(path: Path) -> Source:
    """Return a source that reads a file."""
    return Source(str(path), lambda: path.open("rb"))


def from_bytes(name: str, content: bytes) -> Source:
    """Return a source that reads bytes in memory."""
    raw = cast("io.RawIOBase", io.BytesIO(content))
    return Source(name, lambda: cast("BinaryIO", io.BufferedReader(raw)))


def write_label(value: object, charset: str) -> str:
    """Write a label that is not text as its class is named: floats with the fewest digits.

    Raises: ValueError if it is several labels, or bytes that are not in the charset.
    """
    if isinstance(value, (bytes, bytearray)):
        return decode_label(bytes(value), charset)
    if isinstance(value, (list, tuple, dict, set, np.ndarray)):
        message = f"its label {value!r} is not a single number or text"
        raise ValueError(message[:200])  # noqa: TRY004 - wrong data, not a wrong call
    if isinstance(value, (float, np.floating)):
        return np.format_float_positional(value, trim="-")
    return str(value)


def decode_label(text: bytes, charset: str) -> str:
    """Decode a label that a record holds. Raises: ValueError if it is not in the charset."""
    try:
        return text.decode(charset)
    except UnicodeError as error:
        raise ValueError(
            f"its label {text[:40]!r} is not {charset}; set charset to the one that it was written "
            "in, such as latin-1 or cp1252"
        ) from error


@dataclass(frozen=True)
class Part:
    """Decoded records, in the order of their source."""

    images: Images
    """`[record, height, width, channel]` 0-255."""
    labels: Labels
    """One label a record, as its source writes it."""
    locate: Callable[[int], str]
    """Returns the place of a record of this part, for messages; holds no images."""
    faults: list[str] = field(default_factory=list)
    """Place and reason of each record that cannot be read."""
    guesses_label: bool = False
    """Whether the first column is taken as the label because nothing names another one."""

    @property
    def shape(self) -> Shape:
        """Height, width and channels."""
        height, width, channels = self.images.shape[1:]
        return height, width, channels


Task = Callable[[], Part]


@dataclass(frozen=True)
class Unpacked:
    """Records whose images are still encoded, and what is known of each."""

    contents: list[Any] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    places: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    """Place and reason of each record that could not be unpacked."""


@dataclass(frozen=True)
class DecodingTask:
    """A task in two steps, so that another decoder can take its place in the second one."""

    unpack: Callable[[], Unpacked]
    decode: Callable[[Any], Images]
    """Decodes the image of one record to `shape`; raises ValueError with its fault."""
    shape: Shape

    def __call__(self) -> Part:
        """Run both steps."""
        unpacked = self.unpack()
        images = np.empty((len(unpacked.contents), *self.shape), np.uint8)
        return self.complete(unpacked, images, range(len(images)))

    def complete(self, unpacked: Unpacked, images: Images, missing: Sequence[int]) -> Part:
        """Decode the `missing` images into `images`, which are in the order of the records."""
        faults, faulty = list(unpacked.faults), []
        for index in missing:
            try:
                images[index] = self.decode(unpacked.contents[index])
            except ValueError as error:
                faults.append(f"{unpacked.places[index]}: {error}")
                faulty.append(index)
        if not faulty:
            return Part(images, unpacked.labels, unpacked.places.__getitem__, faults)
        kept = np.setdiff1d(np.arange(len(images)), faulty)
        labels, places = (
            [texts[index] for index in kept] for texts in (unpacked.labels, unpacked.places)
        )
        return Part(images[kept], labels, places.__getitem__, faults)


@dataclass(frozen=True)
class Options:
    """How a set of images is read; every reader uses what concerns it."""

    data_format: str = "auto"
    """A value of `_SUFFIXES` in `container.data.detection`, `idx`, or `auto` to detect it."""
    label_column: str = LABEL_COLUMN
    """Header or position of the labels in CSV; by default the first column if it has no header."""
    charset: str = UTF_8
    """Charset of text: rows and labels."""
    image_shape: Shape | None = None
    """Height, width and channels; None: the first records decide."""
    resize: str = "refuse"
    """What to do with pictures of another size: `refuse`, `stretch`, `crop` or `pad`."""
    role: str = "train"
    """`train`, `validation` or `test`: which arrays to take from a file that holds several sets."""
    classes: tuple[Label, ...] | None = None
    """The classes that labels must be among; None: the labels are the classes."""
    keeps_spelling: bool = False
    """Make each spelling of a label (`7`, `007`) a class, until all hosts have agreed on them."""
    bad_record_limit: int = 0
    """Records that may be skipped because they cannot be read."""
    memory_budget_bytes: int | None = None
    """Decoded bytes to keep in memory; None: a quarter of what the container may use."""
    note: Callable[[str], object] = len
    """Takes a line about what was passed over; by default nobody does."""
    keeps_names: bool = False
    """Keep the place of each record, such as the path of a picture."""
    run: Callable[[Iterator[Task]], Iterator[Part]] | None = None
    """Runs the tasks and yields their parts in order; None: threads and Pillow do."""
