"""Arrays: NPZ, pairs of NPY files, and MNIST's IDX files (`.gz` too); nothing is ever unpickled (SEC-3)."""

from __future__ import annotations

import ast
import functools
import math
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

import numpy as np
from numpy.typing import NDArray

from container.data.formats.parts import PART_BYTES, Part, Reading, Shape, Task, from_path
from container.errors import UserError

IDX_MAGIC: Final = b"\x00\x00"
_IDX_DTYPES: Final = {8: "u1", 9: "i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}
_HEADER_BYTES_MAXIMUM: Final = 1 << 16
_ROLES: Final = {
    "train": ("train", "training"),
    "validation": ("validation", "val"),
    "test": ("test", "testing"),
}
_IMAGE_NAMES: Final = ("images", "image", "x", "data", "features", "pixels", "arr_0")
_LABEL_NAMES: Final = ("labels", "label", "y", "targets", "target", "classes", "arr_1")


def is_idx(head: bytes) -> bool:
    """Tell whether a file that begins with `head` is IDX: two zeros, a known type, 1 to 4 dimensions."""
    return len(head) >= 4 and head[:2] == IDX_MAGIC and head[2] in _IDX_DTYPES and 1 <= head[3] <= 4


def read_npz(paths: Sequence[Path], reading: Reading) -> Iterator[Task]:
    """Cut NPZ files into tasks: each holds an array of images and one of labels.

    Raises: UserError if a file does not hold them under names that are known.
    """
    for path in paths:
        try:
            with zipfile.ZipFile(path) as archive:
                names = [name.removesuffix(".npy") for name in archive.namelist()]
                images_name = _choose(path, names, _IMAGE_NAMES, reading.role, "images")
                labels_name = _choose(path, names, _LABEL_NAMES, reading.role, "labels")
                with archive.open(f"{labels_name}.npy") as stream:
                    labels = _read_whole(cast("BinaryIO", stream), f"{path}, {labels_name}")
                with archive.open(f"{images_name}.npy") as stream:
                    yield from _cut(
                        cast("BinaryIO", stream), f"{path}, {images_name}", labels, reading
                    )
        except zipfile.BadZipFile as error:
            message = f"{path} cannot be read: {error}"
            raise UserError(message) from error


def read_pairs(paths: Sequence[Path], reading: Reading) -> Iterator[Task]:
    """Cut NPY or IDX files into tasks: a file of images and one of labels belong together by their names.

    Raises: UserError if a file has no partner.
    """
    for images_path, labels_path in _pair(paths):
        with from_path(labels_path).reading() as stream:
            labels = _read_whole(stream, str(labels_path))
        with from_path(images_path).reading() as stream:
            yield from _cut(stream, str(images_path), labels, reading)


def _choose(path: Path, names: Sequence[str], known: Sequence[str], role: str, noun: str) -> str:
    wanted = [f"{name}_{word}" for name in known for word in _ROLES[role]] + list(known)
    found = next((name for name in wanted if name in names), None)
    if found is None:
        message = f"{path} holds {', '.join(names) or 'nothing'}; {noun} are expected as one of {', '.join(known[:-1])}"
        raise UserError(message)
    return found


def _pair(paths: Sequence[Path]) -> list[tuple[Path, Path]]:
    """Pair files of images with files of labels, which have one value a row."""
    images: list[Path] = []
    labels: list[Path] = []
    for path in paths:
        with from_path(path).reading() as stream:
            shape, _, _ = _read_header(stream, str(path))
        (labels if math.prod(shape) == shape[0] else images).append(path)
    if len(images) == len(labels) == 1:
        return [(images[0], labels[0])]
    by_stem = {_stem(path): path for path in labels}
    missing = [path for path in images if _stem(path) not in by_stem]
    if missing or len(images) != len(labels) or not images:
        message = (
            f"files of images and of labels must come in pairs such as images.npy and labels.npy; images are "
            f"{', '.join(path.name for path in images) or 'none'}, labels {', '.join(p.name for p in labels) or 'none'}"
        )
        raise UserError(message)
    return [(path, by_stem[_stem(path)]) for path in images]


def _stem(path: Path) -> str:
    """Strip what tells images from labels: `train-images-idx3-ubyte` and `train-labels-idx1-ubyte` are one stem."""
    stem = path.name.lower().removesuffix(".gz").removesuffix(".npy").removesuffix(".idx")
    for name in ("idx1", "idx2", "idx3", "idx4", "images", "image", "labels", "label", "x", "y"):
        stem = "-".join(
            part for part in stem.replace("_", "-").replace(".", "-").split("-") if part != name
        )
    return f"{path.parent}/{stem}"


def _read_header(stream: BinaryIO, name: str) -> tuple[tuple[int, ...], np.dtype[Any], bool]:
    """Read the header of an NPY or IDX stream: shape, dtype, and whether the first index runs fastest."""
    head = stream.read(8)
    try:
        if is_idx(head):
            sizes = head[4:] + stream.read(4 * head[3] - 4)
            shape = tuple(int.from_bytes(sizes[i : i + 4], "big") for i in range(0, 4 * head[3], 4))
            return shape, np.dtype(_IDX_DTYPES[head[2]]), False
        size = int.from_bytes(stream.read(2 if head[6] == 1 else 4), "little")
        if not head.startswith(b"\x93NUMPY") or size > _HEADER_BYTES_MAXIMUM:
            raise ValueError(head)  # noqa: TRY301 - told below with all other faults of a header
        header = ast.literal_eval(stream.read(size).decode("utf-8"))
        dtype = np.lib.format.descr_to_dtype(header["descr"])
        shape, is_fortran = tuple(header["shape"]), bool(header["fortran_order"])
    except (ValueError, KeyError, TypeError, SyntaxError, IndexError) as error:
        message = f"{name} is neither NPY nor IDX, or its header is damaged"
        raise UserError(message) from error
    if dtype.hasobject:
        message = f"{name} holds Python objects, which are never unpickled; an array of numbers is expected"
        raise UserError(message)
    return shape, dtype, is_fortran


def _read_whole(stream: BinaryIO, name: str) -> NDArray[Any]:
    shape, dtype, fortran = _read_header(stream, name)
    size = math.prod(shape) * dtype.itemsize
    content = stream.read(size)
    if len(content) < size:
        message = f"{name} ends early: its header says {size} bytes, {len(content)} are there"
        raise UserError(message)
    return np.frombuffer(content, dtype).reshape(shape, order="F" if fortran else "C")


def _cut(stream: BinaryIO, name: str, labels: NDArray[Any], reading: Reading) -> Iterator[Task]:
    shape, dtype, fortran = _read_header(stream, name)
    labels = labels.reshape(len(labels)) if labels.size == len(labels) else labels
    if labels.ndim != 1 or len(shape) < 2 or len(labels) != shape[0]:
        message = f"{name} has the shape {list(shape)} and its labels {list(labels.shape)}; one label an image is expected"
        raise UserError(message)
    image_shape = _find_shape(name, shape[1:], reading.image_shape)
    value_count = math.prod(shape[1:])
    step = max(1, PART_BYTES // max(1, value_count))
    if fortran:
        whole = np.frombuffer(stream.read(), dtype).reshape(shape, order="F")
    for start in range(0, shape[0], step):
        count = min(step, shape[0] - start)
        if fortran:
            block = np.ascontiguousarray(whole[start : start + count]).tobytes()
        else:
            block = stream.read(count * value_count * dtype.itemsize)
        if len(block) < count * value_count * dtype.itemsize:
            message = f"{name} ends early, within image {start + len(block) // max(1, value_count * dtype.itemsize)}"
            raise UserError(message)
        rows = np.frombuffer(block, dtype).reshape(count, -1)
        if start == 0:  # one file has one scale: an image of black and white alone does not tell it
            unit = (
                dtype.kind == "f"
                and bool((rows != np.floor(rows)).any())
                and bool((rows <= 1).all())
            )
        yield functools.partial(
            _decode, rows, labels[start : start + count], image_shape, start, name, unit=unit
        )


def _find_shape(name: str, found: tuple[int, ...], wanted: Shape | None) -> Shape:
    shape: tuple[int, ...] = wanted or found
    if len(shape) == 1:
        side = math.isqrt(shape[0])
        shape = (side, side, 1)
    shape = (*shape, 1) if len(shape) == 2 else shape
    if len(shape) != 3 or math.prod(shape) != math.prod(found):
        message = (
            f"{name} holds images of shape {list(found)}, expected {list(wanted)}"
            if wanted
            else f"{name} holds images of shape {list(found)}; set image_shape to height, width and channels"
        )
        raise UserError(message)
    return shape


def _decode(  # noqa: PLR0913 - one task's data, bound where the task is made
    rows: NDArray[Any], labels: NDArray[Any], shape: Shape, start: int, name: str, *, unit: bool
) -> Part:
    """Turn `[row, value]` into a part; with `unit`, pixels are divided by 255, as in requests to the server."""
    if rows.dtype == np.uint8:
        pixels, wrong = rows, np.zeros(len(rows), bool)
    else:
        with np.errstate(invalid="ignore"):
            rows = np.rint(rows * np.float64(255)) if unit else rows
            wrong = ~((rows >= 0) & (rows <= 255) & (rows == np.floor(rows))).all(axis=1)
            pixels = rows.astype(np.uint8)
    good = np.flatnonzero(~wrong)
    found = (
        "a pixel is not within 0 and 1, as the first ones are"
        if unit
        else "a pixel is no whole number from 0 to 255"
    )
    faults = [f"{name}, image {start + row}: {found}" for row in np.flatnonzero(wrong)]
    kept = labels[good] if faults else labels
    return Part(
        (pixels[good] if faults else pixels).reshape(-1, *shape),
        kept.astype(np.int64)
        if kept.dtype.kind in "iub"
        else [_to_text(label) for label in kept.tolist()],
        lambda index: f"{name}, image {start + good[index]}",
        faults,
    )


def _to_text(label: object) -> str:
    if isinstance(label, bytes):
        return label.decode("utf-8", errors="replace")
    return f"{label:.17g}" if isinstance(label, float) else str(label)
