"""Device memory: which images may stay on a GPU, and what running out of it means."""

import ctypes
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import tensorflow as tf

from container.errors import UserError

HOST: Final = "/CPU:0"
_IMAGE_SHARE: Final = 0.4  # of a GPU; network, gradients and activations need the rest
_PLACE: Final = re.compile(r"device:(\w+:\d+)")


def choose_place(image_bytes: int, gpu_bytes: Sequence[int]) -> str | None:
    """Choose the device that holds all images of a job: the only GPU if they fit, else the host.

    `gpu_bytes` is the memory of each GPU that trains. Without any the choice is TensorFlow's: None.
    """
    if not gpu_bytes or (len(gpu_bytes) == 1 and image_bytes <= _IMAGE_SHARE * gpu_bytes[0]):
        return None
    return HOST


def measure_gpus() -> list[int]:
    """Return the memory in bytes of each GPU that TensorFlow sees; 0 if the driver does not say.

    Source: CUDA Driver API, cuDeviceTotalMem; CUDA and TensorFlow list devices in one order.
    """
    visible = tf.config.get_visible_devices("GPU")
    sizes = [0] * len(visible)
    if not visible:
        return sizes
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return sizes
    driver.cuInit(0)
    for index in range(len(visible)):
        device, size = ctypes.c_int(), ctypes.c_size_t()
        if driver.cuDeviceGet(ctypes.byref(device), index):  # else 0 is success
            continue
        if not driver.cuDeviceTotalMem_v2(ctypes.byref(size), device):
            sizes[index] = size.value
    return sizes


@contextmanager
def explained(batch_size: int, precision: str) -> Iterator[None]:
    """Turn TensorFlow's error of a device without memory into one with a remedy.

    Raises: UserError.
    """
    try:
        yield
    except tf.errors.ResourceExhaustedError as error:
        place = _PLACE.search(str(error))
        raise UserError(
            f"the memory of {place[1] if place else 'the device'} is too small for this network "
            f"and batch_size={batch_size} with precision={precision}; use a smaller batch_size, "
            "precision=bfloat16 or float16, more devices, or an instance with more memory"
        ) from error
