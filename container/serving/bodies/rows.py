"""Compiles, loads and calls `rows.c`: `python -m container.serving.bodies.rows` compiles it.

Without the library `text` decodes the same at a fifteenth of the speed.
"""

from __future__ import annotations

import ctypes
import functools
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

_SOURCE: Final = Path(__file__).with_name("rows.c")
LIBRARY: Final = Path(__file__).with_name("librows.so")
_SHORT_BYTES: Final = 32_768
"""Shorter text takes a few microseconds, which is not worth giving up Python's lock."""


def is_compiled() -> bool:
    """Return whether rows are decoded by the library."""
    return load(ctypes.PyDLL) is not None


def load(make: type[ctypes.CDLL]) -> Any:
    """Return the function `decode_rows` of the library, or None if that has not been compiled.

    `make` is `ctypes.PyDLL` to keep Python's lock during a call, `ctypes.CDLL` to release it.
    """
    try:
        function = make(str(LIBRARY)).decode_rows
    except OSError:
        return None
    integer, address = ctypes.c_long, ctypes.c_void_p
    function.argtypes = [address, *[integer] * 3, address, integer, address, address]
    function.restype = integer
    return function


_decode_short = load(ctypes.PyDLL)
_decode_long = load(ctypes.CDLL)


def decode(
    text: bytes, sizes: tuple[int, ...], rows_maximum: int, columns: int, begin: int = 0
) -> tuple[NDArray[np.uint8], int] | None:
    """Decode plain rows from `begin` on into `[n, columns] uint8`, and find where they end.

    `sizes` is empty for CSV. For the inside of a JSON array it holds how many numbers each level of
    nesting has, the outermost first. Returns None if there is no library, or if anything is unusual
    or wrong.
    """
    function = _decode_short
    source: bytes | int = text
    if len(text) >= _SHORT_BYTES:
        function = _decode_long
        if begin:  # without a copy
            source = begin + np.frombuffer(text, np.uint8).ctypes.data
    elif begin:
        source = text[begin:]
    if function is None:
        return None
    images = np.empty((rows_maximum, columns), np.uint8)
    end = ctypes.c_long()
    count = function(
        source,
        len(text) - begin,
        columns,
        len(sizes),
        _make_array(sizes),
        rows_maximum,
        images.ctypes.data,
        ctypes.byref(end),
    )
    if count < 0:
        return None
    return images[:count], begin + end.value


def decode_csv(text: bytes, columns: int) -> NDArray[np.uint8] | None:
    """Decode lines of CSV into `[n, columns] uint8`; None as from `decode`."""
    # A pixel and what separates it take two bytes or more.
    rows_maximum = min(text.count(b"\n"), len(text) // (2 * columns)) + 1
    decoded = decode(text, (), rows_maximum, columns)
    return None if decoded is None else decoded[0]


@functools.lru_cache(maxsize=256)
def _make_array(sizes: tuple[int, ...]) -> ctypes.Array[ctypes.c_long]:
    return (ctypes.c_long * len(sizes))(*sizes)


def build() -> int:
    """Compile the library beside its source; return 1 and print the reason if that fails."""
    compiler = os.environ.get("CC") or shutil.which("cc")
    if compiler is None:
        print("no C compiler (cc) is installed", file=sys.stderr)
        return 1
    partial = LIBRARY.with_suffix(f".{os.getpid()}")
    options = ["-O3", "-std=c99", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]
    try:
        command = [compiler, *options, "-o", str(partial), str(_SOURCE), "-lm"]
        subprocess.run(command, check=True)  # noqa: S603 - the compiler, with arguments of ours
        partial.replace(LIBRARY)
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"cannot compile {_SOURCE}: {error}", file=sys.stderr)
        return 1
    finally:
        partial.unlink(missing_ok=True)
    print(LIBRARY)
    return 0


if __name__ == "__main__":
    sys.exit(build())
