"""The decoder of text rows in C; `python -m container.serving.bodies.rows` compiles it.

Rules of this file: what it returns is what the decoders of `text` return, or None; without the
library everything works, at a fifteenth of the speed.
"""

from __future__ import annotations

import ctypes
import functools
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

Decoded: TypeAlias = tuple[NDArray[np.uint8], int]
_SOURCE: Final = Path(__file__).with_name("rows.c")
LIBRARY: Final = Path(__file__).with_name("librows.so")
_SHORT_BYTES: Final = 32_768
"""Shorter text takes a few microseconds, which is not worth giving up Python's lock."""


def _load(make: type[ctypes.CDLL]) -> Any:
    try:
        function = make(str(LIBRARY)).decode_rows
    except OSError:
        return None
    integer, address = ctypes.c_long, ctypes.c_void_p
    function.argtypes = [ctypes.c_char_p, *[integer] * 3, address, integer, address, address]
    function.restype = integer
    return function


_decode_short = _load(ctypes.PyDLL)
_decode_long = _load(ctypes.CDLL)


def decode(text: bytes, sizes: tuple[int, ...], rows_maximum: int, columns: int) -> Decoded | None:
    """Decode rows of pixels into `[n, columns] uint8`, and find where in `text` they end.

    `sizes` is empty for CSV. For the inside of a JSON array it holds how many numbers each level of
    nesting has, the outermost first. Returns None if there is no library, or if anything is unusual
    or wrong: the slow decoders then find out what.
    """
    function = _decode_short if len(text) < _SHORT_BYTES else _decode_long
    if function is None:
        return None
    pixels = np.empty((rows_maximum, columns), np.uint8)
    end = ctypes.c_long()
    rows = function(
        text,
        len(text),
        columns,
        len(sizes),
        _make_array(sizes),
        rows_maximum,
        pixels.ctypes.data,
        ctypes.byref(end),
    )
    if rows < 0:
        return None
    return pixels[:rows], end.value


@functools.lru_cache(maxsize=16)
def _make_array(sizes: tuple[int, ...]) -> ctypes.Array[ctypes.c_long]:
    return (ctypes.c_long * len(sizes))(*sizes)


def build() -> int:
    """Compile the library beside its source; return 1 and print the reason if that fails."""
    compiler = os.environ.get("CC") or shutil.which("cc")
    if compiler is None:
        print("no C compiler (cc): text rows will be decoded by Python", file=sys.stderr)
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
