"""Whether the NVIDIA driver of an endpoint's instances is new enough for an image (GPU-1)."""

import re
from typing import Final

DRIVERS: Final = {
    "al2-ami-sagemaker-inference-gpu-2": 535,
    "al2-ami-sagemaker-inference-gpu-2-1": 535,
    "al2-ami-sagemaker-inference-gpu-3-1": 550,
    "al2023-ami-sagemaker-inference-gpu-4-1": 580,
}
"""The driver by InferenceAmiVersion. Source: API `ProductionVariant`, 2026-11."""
_NEEDED: Final = {"11": 450, "12": 525, "13": 580}
"""The oldest driver by major version of CUDA. Source: NVIDIA, "CUDA Compatibility", 2026-11."""
_GPU: Final = re.compile(r"ml\.[gp][0-9]")


def has_gpu(instance_type: str) -> bool:
    """Return whether instances of a type have NVIDIA GPUs."""
    return _GPU.match(instance_type) is not None


def judge(cuda_version: str, ami: str | None) -> tuple[bool | None, str]:
    """Return whether the driver of an InferenceAmiVersion is new enough, and why.

    None stands for unknown.
    """
    major = cuda_version.partition(".")[0]
    if major not in _NEEDED:
        return None, f"the driver for CUDA {cuda_version or '(no CUDA_VERSION in the image)'}"
    needed = _NEEDED[major]
    what = f"CUDA {major} needs driver {needed} or newer"
    if ami is None:
        good = ", ".join(name for name, driver in DRIVERS.items() if driver >= needed)
        return None, f"{what}; for an endpoint, name one of {good} as --inference-ami"
    if ami not in DRIVERS:
        return None, f"{what}; the driver of {ami} is not known here"
    return DRIVERS[ami] >= needed, f"{what}; {ami} has {DRIVERS[ami]}"
