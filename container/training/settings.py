"""The hyperparameters of the bundled training job: types, ranges, defaults, effects.

Rules of this file: standard library only, so that a wrong value fails before TensorFlow is imported; a default stands
here and nowhere else. `docs/hyperparameters.md` is generated from it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from container import hyperparameters
from container.errors import UserError
from container.hyperparameters import field

CHANNEL_COUNTS = (1, 3, 4)


@dataclasses.dataclass(frozen=True)
class Settings:
    """One training job's hyperparameters."""

    epochs: int | None = field(
        None, "passes over the training images; by default 3, or as many as give 500 steps", low=1, high=100_000
    )
    batch_size: int = field(128, "images of one training step", unit="images", low=1, high=65_536)
    learning_rate: float = field(0.015, "peak of the learning-rate schedule", low=1e-8, high=100.0)
    weight_decay: float = field(0.02, "decoupled decay of the kernels, times the learning rate", low=0.0, high=10.0)
    warmup_fraction: float = field(0.25, "share of the steps in which the learning rate rises", low=0.0, high=1.0)
    label_smoothing: float = field(0.1, "probability mass spread over all classes", low=0.0, high=0.9)
    shift_pixels: int = field(1, "furthest random shift of a batch, each way", unit="pixels", low=0, high=64)
    seed: int = field(0, "seed of weights, order of the images, shifts and split", low=0, high=2**31 - 1)
    validation_fraction: float = field(
        0.0, "share of the training images held out where there is no validation channel", low=0.0, high=0.9
    )
    label_column: str = field("label", "header of the label's column in CSV; without a header it is the first column")
    image_shape: tuple[int, ...] | None = field(
        None, "height, width and channels of CSV rows; by default a square grey image", unit="pixels", low=1, high=4096
    )
    precision: str = field(
        "auto",
        "arithmetic of the training step; auto: bfloat16 where the CPU computes in it",
        choices=("auto", "float32", "bfloat16"),
    )
    threads: int | None = field(None, "CPU threads; by default what the container may use", low=1, high=1024)


def parse(raw: Mapping[str, str]) -> tuple[Settings, list[str]]:
    """Build the settings from the platform's strings; also give the warnings about unknown names.

    Raises: UserError that names every wrong value, what was found and what is possible.
    """
    settings, warnings = hyperparameters.parse(Settings, raw)
    shape = settings.image_shape
    if shape is not None and (len(shape) != 3 or shape[2] not in CHANNEL_COUNTS):
        message = (
            f"wrong hyperparameter: image_shape={list(shape)}: expected height, width and channels "
            f"(one of {', '.join(map(str, CHANNEL_COUNTS))}), such as [28, 28, 1]"
        )
        raise UserError(message)
    return settings, warnings
