"""Which device, arithmetic, threads and towers a training step uses, and why; decided before TensorFlow's first op.

A batch is cut into towers, equal parts that are computed side by side on one thread each: for small
images that keeps two cores busier than sharing each operation (2.0x at 28x28, 1.6x on ResNet-20;
docs/training.md). Several GPUs have a tower each.
"""

from __future__ import annotations

import math
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from container import machine
from container.errors import PlatformError
from container.training.settings import Settings

_BFLOAT16_FLAGS = ("avx512_bf16", "amx_bf16")
_BFLOAT16_CAPABILITY = (8, 0)  # Ampere
_FLOAT16_CAPABILITY = (7, 0)  # Volta, the first with tensor cores
_DEPTHWISE = (
    "mobilenet_v3_small",
    "mobilenet_v3_large",
    "efficientnet_b0",
)  # 1.5 to 1.7 times as fast in float32
_TOWER_IMAGES = (
    32  # fewer images a tower cost more in overhead, and in batch statistics, than they gain
)
_TOWER_PIXELS = 64 * 64  # larger images keep all cores busy within one operation
# TensorFlow 2.21 says these whatever its log level is; neither is of use, and one is a WARNING
# about logging itself.
_CHATTER = re.compile(
    rb"WARNING: All log messages before absl|port\.cc:\d+\] oneDNN custom operations are on"
)


@dataclass(frozen=True)
class Device:
    """How training steps are executed."""

    precision: str
    """`float32`, `bfloat16` or `float16`; weights, statistics and losses are float32 in each."""
    towers: int
    """Parts into which a batch is cut."""
    intra_threads: int
    """Threads within one operation."""
    inter_threads: int
    """Operations that run side by side."""
    xla: bool
    """Whether the step is compiled by XLA."""
    reasons: tuple[str, ...]
    """One line per choice."""
    places: tuple[str, ...] = ()
    """TensorFlow's names of the devices that towers are computed on in turn, where there are several."""


def choose(
    settings: Settings,
    image_shape: Sequence[int],
    gpus: Sequence[Any] = (),
    cpuinfo: Path = Path("/proc/cpuinfo"),
) -> Device:
    """Choose for images of `image_shape` = height, width, channels; settings override.

    `gpus` are mappings with the key `compute_capability`, as TensorFlow describes its devices.

    Raises: PlatformError if a GPU is required and there is none.
    """
    if settings.require_gpu and not gpus:
        message = "require_gpu=true, and TensorFlow sees no GPU: is this the GPU image, on an instance that has one?"
        raise PlatformError(message)
    threads = settings.threads or max(1, math.floor(machine.count_cpus()))
    reasons = [f"device: {len(gpus)} GPU(s)" if gpus else "device: CPU"]
    reasons.append(
        f"threads={threads}: {'as set' if settings.threads else 'what the container may use'}"
    )
    precision, why = settings.precision, "as set"
    if precision == "auto":
        precision, why = _choose_precision(settings.model, gpus, cpuinfo)
    reasons.append(f"precision={precision}: {why}")
    towers, why = settings.towers or 0, "as set"
    if not towers:
        height, width = image_shape[:2]
        small = height * width <= _TOWER_PIXELS
        towers = max(
            1, min(len(gpus) or (threads if small else 1), settings.batch_size // _TOWER_IMAGES)
        )
        why = f"batches of {settings.batch_size} images of {height}x{width}"
    reasons.append(f"towers={towers}: {why}")
    xla = settings.xla == "on" or (settings.xla == "auto" and bool(gpus))
    why = (
        "as set"
        if settings.xla != "auto"
        else "on GPUs it fuses"
        if gpus
        else "convolutions on CPUs are slower with it"
    )
    reasons.append(f"xla={'on' if xla else 'off'}: {why}")
    places = tuple(f"/GPU:{index}" for index in range(len(gpus))) if len(gpus) > 1 else ()
    intra_threads = threads if gpus else max(1, threads // towers)
    return Device(precision, towers, intra_threads, towers, xla, tuple(reasons), places)


def _choose_precision(network: str, gpus: Sequence[Any], cpuinfo: Path) -> tuple[str, str]:
    if gpus:
        capability = min(tuple(gpu.get("compute_capability", (0, 0))) for gpu in gpus)
        able = {"bfloat16": _BFLOAT16_CAPABILITY, "float16": _FLOAT16_CAPABILITY}
        precision = next((name for name, least in able.items() if capability >= least), "float32")
        return precision, f"the GPU's compute capability is {capability[0]}.{capability[1]}"
    if network in _DEPTHWISE:
        return "float32", "depthwise convolutions on CPUs are slower in bfloat16"
    try:
        lines = cpuinfo.read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    flags = set(next((line for line in lines if line.startswith("flags")), "").split())
    flag = next((flag for flag in _BFLOAT16_FLAGS if flag in flags), None)
    if flag:
        return "bfloat16", f"the CPU has {flag}"
    return "float32", f"the CPU has neither {' nor '.join(_BFLOAT16_FLAGS)}"


def describe_gpus() -> list[Any]:
    """Describe the GPUs that TensorFlow sees, and let their memory grow as it is needed."""
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    for gpu in gpus:
        tf.config.experimental.set_memory_growth(gpu, True)  # noqa: FBT003 - TensorFlow's signature
    return [tf.config.experimental.get_device_details(gpu) for gpu in gpus]


def configure(device: Device, *, deterministic: bool) -> None:
    """Set TensorFlow's thread pools and determinism; must come before its first operation."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(device.intra_threads)
    tf.config.threading.set_inter_op_parallelism_threads(device.inter_threads)
    if deterministic:
        tf.config.experimental.enable_op_determinism()


def import_tensorflow() -> None:
    """Import TensorFlow and Keras, without the lines that TensorFlow prints whatever its log level is.

    Raises: PlatformError if TensorFlow is not installed.
    """
    try:
        with _filtered_stderr():
            import keras  # noqa: F401
            import tensorflow as tf  # noqa: F401
    except ModuleNotFoundError as error:
        if error.name not in ("tensorflow", "keras"):
            raise
        message = (
            "TensorFlow is not in this image (it is the serve target): train with the whole image"
        )
        raise PlatformError(message) from error


@contextmanager
def _filtered_stderr() -> Iterator[None]:
    """Keep what native code writes to standard error, then pass on all of it but the known chatter."""
    sys.stderr.flush()
    whole = os.dup(2)
    try:
        with tempfile.TemporaryFile() as kept:
            os.dup2(kept.fileno(), 2)
            try:
                yield
            finally:
                sys.stderr.flush()
                os.dup2(whole, 2)
                kept.seek(0)
                os.write(2, b"".join(line for line in kept if not _CHATTER.search(line)))
    finally:
        os.close(whole)
