"""Entry point of the GPU image: looks at the host's NVIDIA driver, then becomes `python -m container`.

The driver comes from the host, never from the image (IMG-11), and may be years older than the
image's CUDA (GPU-1). Where it is older than the image's cuda-compat, that is put before it; where
it is newer, cuda-compat would break it (GPU-2). Libraries are looked up where a process starts, so
this comes before anything else does.

Rules of this file: standard library only; one line is said, whatever is found; nothing here ends a
job.
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
    """Say what was found, set the library path, become the program."""
    words, needs_compat = decide(read_driver(DRIVER), read_compat(COMPAT))
    print(words, file=sys.stderr, flush=True)
    if needs_compat:
        paths = [str(COMPAT), os.environ.get("LD_LIBRARY_PATH", "")]
        os.environ["LD_LIBRARY_PATH"] = ":".join(filter(None, paths))
    os.execv(sys.executable, [sys.executable, "-m", "container", *sys.argv[1:]])  # noqa: S606 - no shell wanted


def decide(driver: Version | None, compat: Version | None) -> tuple[str, bool]:
    """Give the line to say, and whether cuda-compat goes before the host's driver."""
    if driver is None:
        return "no NVIDIA driver on this host: TensorFlow computes on the CPU", False
    if compat is not None and driver < compat:
        return (
            f"NVIDIA driver {show(driver)} is older than the image's cuda-compat {show(compat)}, which is used",
            True,
        )
    if driver < MINIMUM:
        return (
            f"NVIDIA driver {show(driver)} is too old: CUDA 12 needs {show(MINIMUM)}; expect the CPU only",
            False,
        )
    return f"NVIDIA driver {show(driver)}: CUDA 12 needs {show(MINIMUM)} or newer", False


def read_driver(path: Path) -> Version | None:
    """Read the version of the host's kernel module; None if there is none."""
    try:
        found = re.search(
            r"Kernel Module\s+(?:for \S+\s+)?(\d[\d.]+)", path.read_text(encoding="utf-8")
        )
    except OSError:
        return None
    return parse(found[1]) if found else None


def read_compat(directory: Path) -> Version | None:
    """Read the driver version that cuda-compat stands for off the name of its library; None if it is not there."""
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
