"""Arrays: NPZ, pairs of NPY files, and pairs of IDX files as MNIST has; never unpickled (SEC-3)."""

import ast
import functools
import lzma
import math
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

import numpy as np
from numpy.typing import NDArray

from container.data.array_shapes import find_shape, flatten_labels
from container.data.formats.parts import (
    PART_BYTES,
    Labels,
    Options,
    Part,
    Shape,
    Task,
    from_path,
    write_label,
)
from container.errors import UserError

_MEMBERS_SHOWN: Final = 5
_IMAGE_BYTES_MAXIMUM: Final = 1 << 30
_ZIP_FAULTS: Final = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    OSError,
    RuntimeError,
)
"""What an archive raises that is damaged, encrypted or of another version."""
_IDX_DTYPES: Final = {8: "u1", 9: "i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}
_HEADER_BYTES_MAXIMUM: Final = 1 << 16
_ROLES: Final = {
    "train": ("train", "training"),
    "validation": ("validation", "val"),
    "test": ("test", "testing"),
}
_IMAGE_NAMES: Final = ("images", "image", "x", "data", "features", "pixels", "arr_0")
_PAIR_WORDS: Final = (
    *("idx1", "idx2", "idx3", "idx4"),
    *("images", "image", "labels", "label", "x", "y"),
)
_PARTS_OF_A_NAME: Final = re.compile("[-_.]")
_LABEL_NAMES: Final = ("labels", "label", "y", "targets", "target", "classes", "arr_1")


def is_idx(head: bytes) -> bool:
    """Return whether `head` begins an IDX file: two zeros, a known type, 1 to 4 dimensions."""
    return head[:2] == b"\0\0" and len(head) >= 4 and head[2] in _IDX_DTYPES and 1 <= head[3] <= 4


def read_npz(paths: Sequence[Path], options: Options) -> Iterator[Task]:
    """Cut NPZ files into tasks; each file holds an array of images and one of labels.

    Other arrays are named by `options.note`.

    Raises: UserError if a file has no arrays of known names.
    """
    for path in paths:
        try:
            with zipfile.ZipFile(path) as archive:
                names = _list_arrays(path, archive.namelist())
                images_name = _choose(path, names, _IMAGE_NAMES, options.role, "images")
                labels_name = _choose(path, names, _LABEL_NAMES, options.role, "labels")
                with archive.open(f"{labels_name}.npy") as stream:
                    labels = _read_whole(cast("BinaryIO", stream), f"{path}, {labels_name}")
                others = [name for name in names if name not in (images_name, labels_name)]
                if others:
                    options.note(f"passed over {len(others)} arrays of {path}: {', '.join(others)}")
                with archive.open(f"{images_name}.npy") as stream:
                    place = f"{path}, {images_name}"
                    yield from _cut(cast("BinaryIO", stream), place, labels, options)
        except _ZIP_FAULTS as error:
            raise UserError(f"{path} cannot be read: {error}") from error


def read_pairs(paths: Sequence[Path], options: Options) -> Iterator[Task]:
    """Cut NPY or IDX files into tasks; files of images and labels are paired by their names.

    Raises: UserError if a file has no partner.
    """
    for images_path, labels_path in _pair(paths):
        with from_path(labels_path).reading() as stream:
            labels = _read_whole(stream, str(labels_path))
        with from_path(images_path).reading() as stream:
            yield from _cut(stream, str(images_path), labels, options)


def _list_arrays(path: Path, members: Sequence[str]) -> list[str]:
    """List the names of the arrays in an archive.

    Raises: UserError if two have one name, of which only one could be read, or a member is none.
    """
    names = [name.removesuffix(".npy") for name in members]
    others = [member for member in members if not member.endswith(".npy")]
    if others or len(set(names)) < len(names):
        what = f"{others[0]}, which is not an array" if others else "two arrays of the same name"
        message = f"{path} holds {what}: its members are {', '.join(members[:_MEMBERS_SHOWN])}"
        raise UserError(message)
    return names


def _choose(path: Path, names: Sequence[str], known: Sequence[str], role: str, noun: str) -> str:
    of_role = [f"{name}_{word}" for name in known for word in _ROLES[role]]
    for name in (*of_role, *known):
        if name in names:
            return name
    raise UserError(
        f"{path} holds {', '.join(names) or 'nothing'}; expected {noun} under one of the names "
        f"{', '.join(known[:-1])}"
    )


def _pair(paths: Sequence[Path]) -> list[tuple[Path, Path]]:
    """Pair files of images with files of labels, which hold one value per row."""
    images: list[Path] = []
    labels: list[Path] = []
    for path in paths:
        with from_path(path).reading() as stream:
            shape, _, _ = _read_header(stream, str(path))
        if not shape:
            raise UserError(f"{path} holds one number; expected images, or one label per image")
        if math.prod(shape) == shape[0]:
            labels.append(path)
        else:
            images.append(path)
    if len(images) == len(labels) == 1:
        return [(images[0], labels[0])]
    by_stem = {_stem(path): path for path in labels}
    pairs = [(path, by_stem[_stem(path)]) for path in images if _stem(path) in by_stem]
    if not images or not len(pairs) == len(images) == len(labels):
        raise UserError(
            "files of images and labels must come in pairs such as images.npy and labels.npy; "
            f"found images in {_list_names(images)}, labels in {_list_names(labels)}"
        )
    return pairs


def _list_names(paths: Sequence[Path]) -> str:
    return ", ".join(path.name for path in paths) or "none"


def _stem(path: Path) -> str:
    """Strip the words that distinguish `train-images-idx3-ubyte` from `train-labels-idx1-ubyte`."""
    stem = path.name.lower().removesuffix(".gz").removesuffix(".npy").removesuffix(".idx")
    words = _PARTS_OF_A_NAME.split(stem)
    return f"{path.parent}/{'-'.join(word for word in words if word not in _PAIR_WORDS)}"


def _read_header(stream: BinaryIO, name: str) -> tuple[tuple[int, ...], np.dtype[Any], bool]:
    """Return shape, dtype and whether the order is Fortran's, from the header of NPY or IDX."""
    head = stream.read(8)
    try:
        if is_idx(head):
            sizes = head[4:] + stream.read(4 * head[3] - 4)
            shape = tuple(int.from_bytes(sizes[i : i + 4], "big") for i in range(0, 4 * head[3], 4))
            return shape, np.dtype(_IDX_DTYPES[head[2]]), False
        size = int.from_bytes(stream.read(2 if head[6] == 1 else 4), "little")
        if not head.startswith(b"\x93NUMPY") or size > _HEADER_BYTES_MAXIMUM:
            raise ValueError(head)  # noqa: TRY301 - reported below, as all faults are
        header = ast.literal_eval(stream.read(size).decode("utf-8"))
        dtype = np.lib.format.descr_to_dtype(header["descr"])
        shape, is_fortran = tuple(header["shape"]), bool(header["fortran_order"])
    except (ValueError, KeyError, TypeError, SyntaxError, IndexError) as error:
        raise UserError(f"{name} is neither NPY nor IDX, or its header is damaged") from error
    if dtype.hasobject:
        raise UserError(f"{name} holds Python objects, which are never unpickled; expected numbers")
    return shape, dtype, is_fortran


def _read_whole(stream: BinaryIO, name: str) -> NDArray[Any]:
    shape, dtype, fortran = _read_header(stream, name)
    array = _read_array(stream, name, shape, dtype).reshape(shape, order="F" if fortran else "C")
    _refuse_more(stream, name)
    return array


def _read_array(
    stream: BinaryIO, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]
) -> NDArray[Any]:
    size = math.prod(shape) * dtype.itemsize
    content = stream.read(size)
    if len(content) < size:
        raise UserError(f"{name} ends early: expected {size} bytes, found {len(content)}")
    return np.frombuffer(content, dtype)


def _refuse_more(stream: BinaryIO, name: str) -> None:
    """Refuse content after the array, such as a second one. Raises: UserError."""
    if stream.read(1):
        raise UserError(
            f"{name} has data after the array that its header describes; expected one array per "
            "file"
        )


def _cut(stream: BinaryIO, name: str, labels: NDArray[Any], options: Options) -> Iterator[Task]:
    shape, dtype, fortran = _read_header(stream, name)
    labels = flatten_labels(labels, name, shape)
    if dtype.kind not in "biuf":
        raise UserError(f"{name} holds values of the type {dtype}; expected pixels as numbers")
    image_shape = find_shape(name, shape[1:], options.image_shape)
    value_count = math.prod(shape[1:])
    step = max(1, PART_BYTES // max(1, value_count))
    image_bytes = value_count * dtype.itemsize
    unit = False
    if image_bytes > _IMAGE_BYTES_MAXIMUM:
        raise UserError(f"{name} is damaged: by its header an image has {image_bytes:,} bytes")
    if fortran:
        whole = _read_array(stream, name, shape, dtype).reshape(shape, order="F")
    for start in range(0, shape[0], step):
        count = min(step, shape[0] - start)
        if fortran:
            block = np.ascontiguousarray(whole[start : start + count]).tobytes()
        else:
            block = stream.read(count * image_bytes)
        if len(block) < count * image_bytes:
            message = f"{name} ends early, within image {start + len(block) // max(1, image_bytes)}"
            raise UserError(message)
        rows = np.frombuffer(block, dtype).reshape(count, -1)
        if start == 0:  # the first images decide for the file: one in black and white could not
            unit = dtype.kind == "f" and bool((rows != np.floor(rows)).any() and (rows <= 1).all())
        block_labels = _to_labels(labels[start : start + count], f"{name}, labels", options)
        locate = functools.partial(_locate, name, start)
        yield functools.partial(_decode, rows, block_labels, image_shape, locate, unit=unit)
    _refuse_more(stream, name)


def _locate(name: str, start: int, index: int) -> str:
    return f"{name}, image {start + index}"


def _decode(
    rows: NDArray[Any], labels: Labels, shape: Shape, locate: Callable[[int], str], *, unit: bool
) -> Part:
    """Decode `[image, value]`; with `unit`, values are pixels divided by 255, as in requests."""
    if rows.dtype == np.uint8:
        return Part(rows.reshape(-1, *shape), labels, locate)
    fault = "a pixel is not a whole number from 0 to 255"
    with np.errstate(invalid="ignore"):
        if unit:
            fault = "a pixel is not between 0 and 1 as in the first images"
            rows = np.rint(rows * np.float64(255))
        is_good = ((rows >= 0) & (rows <= 255) & (rows == np.floor(rows))).all(axis=1)
        pixels = rows.astype(np.uint8)
    good = np.flatnonzero(is_good)
    return Part(
        pixels[good].reshape(-1, *shape),
        labels[good] if isinstance(labels, np.ndarray) else [labels[row] for row in good],
        lambda index: locate(int(good[index])),
        [f"{locate(int(row))}: {fault}" for row in np.flatnonzero(~is_good)],
    )


def _to_labels(labels: NDArray[Any], name: str, options: Options) -> Labels:
    if labels.dtype.kind in "iub" and labels.dtype != np.uint64:
        return labels.astype(np.int64)
    try:
        return [write_label(label, options.charset) for label in labels]
    except ValueError as error:
        raise UserError(f"{name}: {error}") from error
