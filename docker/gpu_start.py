"""The GPU image's entry point: checks the host's driver, then becomes `python -m container`.

The driver comes from the host, never from the image (IMG-11), and may be years older than the
image's CUDA (GPU-1). If it is older than the image's cuda-compat, cuda-compat goes before it on the
library path; with a newer driver cuda-compat would fail (GPU-2). Libraries are looked up when a
process starts, so this runs before anything else.

Rules of this file: standard library only; it logs one line, and never ends a job.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Final, TypeAlias

Version: TypeAlias = tuple[int, ...]

DRIVER: Final = Path("/proc/driver/nvidia/version")
COMPAT: Final = Path("/usr/local/cuda/compat")
# Every CUDA 12 runs on this driver and later ones.
# Source: NVIDIA, CUDA Compatibility, "Minor Version Compatibility".
MINIMUM: Final = (525, 60, 13)


def main() -> None:
    """Log the driver, set the library path, become the program."""
    words, needs_compat = decide(read_driver(DRIVER), read_compat(COMPAT))
    print(words, file=sys.stderr, flush=True)
    if needs_compat:
        paths = [str(COMPAT), os.environ.get("LD_LIBRARY_PATH", "")]
        os.environ["LD_LIBRARY_PATH"] = ":".join(filter(None, paths))
    command = [sys.executable, "-m", "container", *sys.argv[1:]]
    os.execv(sys.executable, command)  # noqa: S606 - no shell wanted


def decide(driver: Version | None, compat: Version | None) -> tuple[str, bool]:
    """Return the line to log, and whether cuda-compat goes before the host's driver."""
    if driver is None:
        return "no NVIDIA driver on this host: the CPU computes", False
    found = f"NVIDIA driver {show(driver)}"
    if compat is not None and driver < compat:
        return f"{found} is older than the image's cuda-compat {show(compat)}, which is used", True
    needed = f"CUDA 12 needs {show(MINIMUM)}"
    if driver < MINIMUM:
        return f"{found} is too old: {needed}; expect the CPU only", False
    return f"{found}: {needed} or newer", False


def read_driver(path: Path) -> Version | None:
    """Read the version of the host's kernel module, or None."""
    try:
        found = re.search(
            r"Kernel Module\s+(?:for \S+\s+)?(\d[\d.]+)", path.read_text(encoding="utf-8")
        )
    except OSError:
        return None
    return parse(found[1]) if found else None


def read_compat(directory: Path) -> Version | None:
    """Read cuda-compat's driver version from the name of its library, or None if it is missing."""
    versions = [
        parse(path.name.removeprefix("libcuda.so.")) for path in directory.glob("libcuda.so.*.*")
    ]
    return max(versions, default=None)


def parse(text: str) -> Version:
    """Read `535.183.01` as numbers."""
    return tuple(int(part) for part in text.split(".") if part)


def show(version: Version) -> str:
    """Write a version as NVIDIA does: 535.183.01."""
    return ".".join([str(version[0]), *(f"{part:02}" for part in version[1:])])


if __name__ == "__main__":
    main()
