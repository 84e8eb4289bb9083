"""Which arithmetic, threads and towers a training step uses on this machine, and why; set before TensorFlow's first op.

A batch is cut into towers, equal parts that are computed side by side on one thread each: for small images that keeps
two cores busier than sharing each operation (2.0x at 28x28, 1.6x on ResNet-20; docs/training.md).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from container import limits
from container.training.settings import Settings

_BFLOAT16_FLAGS = ("avx512_bf16", "amx_bf16")
_TOWER_IMAGES = 32  # fewer images a tower cost more in overhead, and in batch statistics, than they gain
_TOWER_PIXELS = 64 * 64  # larger images keep all cores busy within one operation


@dataclass(frozen=True)
class Device:
    """How training steps are executed."""

    precision: str
    """`float32` or `bfloat16`; weights, statistics and losses are float32 in either."""
    towers: int
    """Parts into which a batch is cut."""
    intra_threads: int
    """Threads within one operation."""
    inter_threads: int
    """Operations that run side by side."""
    reasons: tuple[str, ...]
    """One line per automatic choice."""


def choose(settings: Settings, image_shape: Sequence[int], cpuinfo: Path = Path("/proc/cpuinfo")) -> Device:
    """Choose for images of `image_shape` = height, width, channels; settings override."""
    threads = settings.threads or max(1, math.floor(limits.count_cpus()))
    reasons = [f"{threads} threads: {'hyperparameter' if settings.threads else 'what the container may use'}"]
    precision = settings.precision
    if precision == "auto":
        flag = _find_bfloat16_flag(cpuinfo)
        precision = "bfloat16" if flag else "float32"
        reasons.append(f"precision={precision}: the CPU has {flag or 'neither ' + ' nor '.join(_BFLOAT16_FLAGS)}")
    small = image_shape[0] * image_shape[1] <= _TOWER_PIXELS
    towers = max(1, min(threads, settings.batch_size // _TOWER_IMAGES)) if small else 1
    reasons.append(f"{towers} tower(s): batches of {settings.batch_size} images of {image_shape[0]}x{image_shape[1]}")
    intra = max(1, threads // towers)
    return Device(precision, towers, intra, max(1, towers), tuple(reasons))


def _find_bfloat16_flag(cpuinfo: Path) -> str | None:
    try:
        flags = set(next((line for line in cpuinfo.read_text().splitlines() if line.startswith("flags")), "").split())
    except OSError:
        return None
    return next((flag for flag in _BFLOAT16_FLAGS if flag in flags), None)


def configure(device: Device) -> None:
    """Set TensorFlow's thread pools; must come before its first operation."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(device.intra_threads)
    tf.config.threading.set_inter_op_parallelism_threads(device.inter_threads)
