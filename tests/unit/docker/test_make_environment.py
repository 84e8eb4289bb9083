"""Libraries of an image are stripped of symbols only where that leaves them loadable."""

from __future__ import annotations

import ctypes
import runpy
import shlex
import shutil
import struct
import sys
from pathlib import Path

import markupsafe._speedups
import pytest

from tests.support import ROOT

MAKE = runpy.run_path(str(ROOT / "docker/make_environment.py"))
LIBRARY = Path(markupsafe._speedups.__file__)  # noqa: SLF001 - any small library of a wheel

STRIP = """import sys
from pathlib import Path
library = Path(sys.argv[-1])
content = bytearray(library.read_bytes())
content[ADDRESS] ^= CHANGE
library.write_bytes(content + b"stripped")
"""


def find_address(content: bytes) -> int:
    """Return where the address of the first segment that is loaded stands."""
    (header,) = struct.unpack_from("<Q", content, 32)
    while struct.unpack_from("<I", content, header) != (1,):
        header += 56
    return header + 16


@pytest.mark.parametrize(("change", "is_kept"), [(0, False), (16, True)])
def test_a_library_that_strip_breaks_keeps_its_symbols(
    change: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_kept: bool
) -> None:
    content = LIBRARY.read_bytes()
    library = Path(shutil.copy(LIBRARY, tmp_path / "packages.so"))
    strip = tmp_path / "bin/strip"
    strip.parent.mkdir()
    program = STRIP.replace("ADDRESS", str(find_address(content)))
    code = shlex.join([sys.executable, "-c", program.replace("CHANGE", str(change))])
    strip.write_text(f'#!/bin/sh\nexec {code} "$@"\n')  # a shebang's path holds no space
    strip.chmod(0o755)
    monkeypatch.setenv("PATH", str(strip.parent))

    MAKE["strip_symbols"](tmp_path)

    assert library.read_bytes() == (content if is_kept else content + b"stripped")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bin", "packages.so"]


def test_what_counts_as_broken_is_what_the_loader_refuses(tmp_path: Path) -> None:
    content = bytearray(LIBRARY.read_bytes())
    assert MAKE["is_aligned"](LIBRARY)
    content[find_address(content)] ^= 16
    broken = tmp_path / "broken.so"
    broken.write_bytes(content)
    assert not MAKE["is_aligned"](broken)
    with pytest.raises(OSError, match="not page-aligned"):
        ctypes.CDLL(str(broken))
