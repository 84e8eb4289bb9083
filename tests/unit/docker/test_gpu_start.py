"""What the GPU image does about the host's driver (GPU-1, GPU-2)."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from tests.support import ROOT

START = runpy.run_path(str(ROOT / "docker/gpu_start.py"))
CLOSED = (
    "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.183.01  Sun May 12 19:39:15 UTC 2024\n"
    "GCC version: 12.2\n"
)
OPEN = (
    "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.133.20  Release Build  "
    "(builder)\n"
)


@pytest.mark.parametrize(
    ("text", "version"), [(CLOSED, (535, 183, 1)), (OPEN, (570, 133, 20)), ("no such words", None)]
)
def test_the_driver_version_is_read_off_both_kinds_of_kernel_module(
    text: str, version: tuple[int, ...] | None, tmp_path: Path
) -> None:
    (tmp_path / "version").write_text(text)
    assert START["read_driver"](tmp_path / "version") == version


def test_a_host_without_a_driver_has_no_version(tmp_path: Path) -> None:
    assert START["read_driver"](tmp_path / "version") is None


def test_cuda_compat_is_known_by_the_name_of_its_library(tmp_path: Path) -> None:
    assert START["read_compat"](tmp_path) is None
    for name in ("libcuda.so", "libcuda.so.1", "libcuda.so.575.57.08", "libnvidia-nvvm.so.4"):
        (tmp_path / name).touch()
    assert START["read_compat"](tmp_path) == (575, 57, 8)


@pytest.mark.parametrize(
    ("driver", "compat", "needs_compat", "words"),
    [
        (None, (575, 57, 8), False, "no NVIDIA driver"),
        (
            (470, 256, 2),
            (575, 57, 8),
            True,
            "470.256.02 is older than the image's cuda-compat 575.57.08, which is used",
        ),
        (
            (580, 65, 6),
            (575, 57, 8),
            False,
            "NVIDIA driver 580.65.06: CUDA 12 needs 525.60.13 or newer",
        ),
        ((470, 256, 2), None, False, "470.256.02 is too old: CUDA 12 needs 525.60.13"),
        ((535, 183, 1), None, False, "NVIDIA driver 535.183.01: CUDA 12 needs 525.60.13 or newer"),
    ],
)
def test_cuda_compat_is_used_with_an_older_driver_only(
    driver: tuple[int, ...] | None, compat: tuple[int, ...] | None, needs_compat: bool, words: str
) -> None:
    said, decided = START["decide"](driver, compat)
    assert (decided, words in said, "\n" in said) == (needs_compat, True, False)
