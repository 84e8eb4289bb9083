"""Which devices, arithmetic, threads and towers a training step uses, and why.

Each of several GPUs computes its part of a batch. CPUs cut a batch into towers, equal parts that
are computed in parallel on one thread each. For small images this uses two cores better than
sharing each operation (2.0 times as fast at 28x28, 1.6 times for ResNet-20; docs/training.md).
"""

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
from container.errors import PlatformError, name_installation
from container.training.settings import Settings

_BFLOAT16_FLAGS = ("avx512_bf16", "amx_bf16")
_BFLOAT16_CAPABILITY = (8, 0)  # Ampere
_FLOAT16_CAPABILITY = (7, 0)  # Volta, the first with tensor cores
# 1.5 to 1.7 times as fast in float32.
_DEPTHWISE = ("mobilenet_v3_small", "mobilenet_v3_large", "efficientnet_b0")
_TOWER_IMAGES = 32  # smaller parts cost more than they gain, in time and in batch statistics
_TOWER_PIXELS = 64 * 64  # one operation on larger images uses all cores
# TensorFlow 2.21 logs these at any log level; neither is useful.
_CHATTER = re.compile(
    rb"WARNING: All log messages before absl|port\.cc:\d+\] oneDNN custom operations are on"
)


@dataclass(frozen=True)
class Device:
    """How training steps are computed."""

    precision: str
    """`float32`, `bfloat16` or `float16`; weights, statistics and losses are float32 in each."""
    towers: int
    """Parts into which a device cuts its part of a batch."""
    intra_threads: int
    """Threads within one operation."""
    inter_threads: int
    """Operations at the same time: one per tower, and at least two if there are two threads."""
    xla: bool
    """Whether the step is compiled by XLA."""
    reasons: tuple[str, ...]
    """One line per decision."""
    places: tuple[str, ...] = ()
    """TensorFlow's names of the devices that train, if there are several on this host."""


def choose(
    settings: Settings,
    image_shape: Sequence[int],
    gpus: Sequence[Any] = (),
    cpuinfo: Path = Path("/proc/cpuinfo"),
) -> Device:
    """Choose for images of height, width and channels; settings override.

    `gpus` are mappings with the key `compute_capability`, as TensorFlow describes its devices.

    Raises: PlatformError if a GPU is required and there is none.
    """
    if settings.require_gpu and not gpus:
        raise PlatformError(
            "require_gpu=true, but TensorFlow sees no GPU; use the GPU image on a GPU instance"
        )
    threads, reason = settings.threads, "as set"
    if threads is None:
        threads, reason = machine.count_threads(), "what the container may use"
    reasons = ["device: CPU", f"threads={threads}: {reason}"]
    gpu_count = min(len(gpus), max(1, settings.batch_size // _TOWER_IMAGES))
    if gpus:
        reasons[0] = f"device: {gpu_count} of {len(gpus)} GPU(s), for {settings.batch_size} images"
    precision, reason = settings.precision, "as set"
    if precision == "auto":
        precision, reason = _choose_precision(settings.model, gpus, cpuinfo)
    reasons.append(f"precision={precision}: {reason}")
    towers, reason = settings.towers, "as set"
    if towers is None:
        towers, reason = _choose_towers(settings.batch_size, image_shape, 1 if gpus else threads)
    reasons.append(f"towers={towers}: {reason}")
    xla, reason = settings.xla, "as set"
    if xla == "auto":
        xla, reason = "off", "convolutions on CPUs are slower with it"
        if gpus:
            xla, reason = "on", "it fuses operations on GPUs"
    reasons.append(f"xla={xla}: {reason}")
    intra_threads, inter_threads = max(1, threads // towers), max(towers, min(threads, 2))
    if gpus:  # which wait for each other in operations of their own
        intra_threads, inter_threads = threads, max(threads, gpu_count + 1)
    return Device(
        precision,
        towers,
        intra_threads,
        inter_threads,
        xla == "on",
        tuple(reasons),
        _name_places(gpu_count),
    )


def _name_places(gpu_count: int) -> tuple[str, ...]:
    if gpu_count < 2:
        return ()
    return tuple(f"/GPU:{index}" for index in range(gpu_count))


def _choose_towers(batch_size: int, image_shape: Sequence[int], threads: int) -> tuple[int, str]:
    height, width = image_shape[:2]
    parallel = threads if height * width <= _TOWER_PIXELS else 1
    towers = max(1, min(parallel, batch_size // _TOWER_IMAGES))
    return towers, f"batches of {batch_size} images" + f" of {height}x{width}" * (height > 0)


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
    """Describe the GPUs that TensorFlow sees, and let their memory grow on demand."""
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    for gpu in gpus:
        tf.config.experimental.set_memory_growth(gpu, True)  # noqa: FBT003 - TensorFlow's signature
    return [tf.config.experimental.get_device_details(gpu) for gpu in gpus]


def configure(device: Device) -> None:
    """Set TensorFlow's devices and thread pools, before its first operation."""
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    tf.config.set_visible_devices(gpus[: max(1, len(device.places))], "GPU")
    tf.config.threading.set_intra_op_parallelism_threads(device.intra_threads)
    tf.config.threading.set_inter_op_parallelism_threads(device.inter_threads)


def make_deterministic() -> None:
    """Let TensorFlow use only deterministic operations.

    tf.data then runs one operation at a time, also where the order is fixed, as in decoding.
    """
    import tensorflow as tf

    tf.config.experimental.enable_op_determinism()


def import_tensorflow() -> None:
    """Import TensorFlow and Keras, without the lines that TensorFlow logs at any log level.

    This turns oneDNN on for every x86 CPU. By default TensorFlow uses it only on CPUs with VNNI or
    bfloat16, but it is twice as fast on CPUs with only AVX2, too (benchmarks/results.md).

    Raises: PlatformError if TensorFlow is not installed.
    """
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    try:
        with _filtered_stderr(), _hidden("sklearn"), _hidden("scipy"):
            import keras  # noqa: F401 - only loaded
            import tensorflow as tf  # noqa: F401 - only loaded
    except ModuleNotFoundError as error:
        if error.name not in ("tensorflow", "keras"):
            raise
        raise PlatformError(
            "the bundled network needs TensorFlow, which is not here; bring a program, train in an "
            "image with FRAMEWORK=tensorflow that is not the target `serve`, or on your machine "
            f"run: {name_installation('trainer')}"
        ) from error


@contextmanager
def _hidden(package: str) -> Iterator[None]:
    """Make a package unavailable to imports, unless it has been imported.

    If scikit-learn and SciPy are installed, Keras and TensorFlow import them for wrappers that the
    bundled trainer does not use. That adds a quarter to the time of their own imports.
    """
    is_hidden = package not in sys.modules
    if is_hidden:
        sys.modules[package] = None  # type: ignore[assignment]  # what makes an import fail
    try:
        yield
    finally:
        if is_hidden:
            del sys.modules[package]


@contextmanager
def _filtered_stderr() -> Iterator[None]:
    """Hold back what native code writes to standard error, then write it without the chatter."""
    sys.stderr.flush()
    original = os.dup(2)
    try:
        with tempfile.TemporaryFile() as kept:
            os.dup2(kept.fileno(), 2)
            try:
                yield
            finally:
                sys.stderr.flush()
                os.dup2(original, 2)
                kept.seek(0)
                os.write(2, b"".join(line for line in kept if not _CHATTER.search(line)))
    finally:
        os.close(original)
