"""The channels of a training job: which there are, and what they hold."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from container import contract, dataset
from container.dataset import LabelledImages
from container.errors import UserError
from container.training.settings import Settings

TRAINING = ("training", "train")
VALIDATION = ("validation",)
TEST = ("test", "testing")
PRETRAINED = ("pretrained", "model")


@dataclasses.dataclass(frozen=True)
class Channels:
    """Directories of the channels; absent ones are None."""

    training: Path
    validation: Path | None
    test: Path | None
    pretrained: Path | None


@dataclasses.dataclass(frozen=True)
class Sets:
    """What the channels hold; absent ones are None."""

    training: LabelledImages
    validation: LabelledImages | None
    test: LabelledImages | None


def find(layout: contract.Layout, config: contract.TrainingConfig) -> Channels:
    """Find the channels by their names.

    Channels are those that the configuration names (TF-3); without that file, as in a plain `docker run`, those whose
    directory exists.

    Raises: UserError if there is no training channel.
    """
    names = set(config.channels)
    if not layout.input_data_config.exists():
        known = (*TRAINING, *VALIDATION, *TEST, *PRETRAINED)
        names = {name for name in known if layout.channel(name).is_dir()}

    def pick(aliases: tuple[str, ...]) -> Path | None:
        return next((layout.channel(name) for name in aliases if name in names), None)

    training = pick(TRAINING)
    if training is None:
        message = (
            f"there is no training channel: one named {' or '.join(map(repr, TRAINING))} is needed; "
            f"the job's channels are {', '.join(sorted(names)) or 'none'}"
        )
        raise UserError(message)
    return Channels(training, pick(VALIDATION), pick(TEST), pick(PRETRAINED))


def load(channels: Channels, settings: Settings, log: Callable[[str], None]) -> Sets:
    """Load all sets; validation and test images must have the training images' shape and classes.

    Raises: UserError that names the faults.
    """
    started = time.monotonic()
    shape = settings.image_shape
    training = dataset.load(
        channels.training,
        label_column=settings.label_column,
        image_shape=shape,  # type: ignore[arg-type]  # settings.parse has checked its length
    )
    if len(training.classes) < 2:
        message = f"{channels.training} holds one class only, {training.classes[0]!r}: a classifier needs two"
        raise UserError(message)
    held_out = [
        dataset.load(
            directory,
            label_column=settings.label_column,
            image_shape=training.images.shape[1:],
            classes=training.classes,
        )
        if directory
        else None
        for directory in (channels.validation, channels.test)
    ]
    validation, test = held_out
    if validation is None and settings.validation_fraction:
        training, validation = _split(training, settings)
    if test is None and validation is None and (settings.min_accuracy is not None or settings.min_f1 is not None):
        message = (
            "min_accuracy and min_f1 need images to measure: a channel named test or validation, or validation_fraction"
        )
        raise UserError(message)
    sets = Sets(training, validation, test)
    found = [(field.name, getattr(sets, field.name)) for field in dataclasses.fields(sets)]
    counts = ", ".join(f"{len(images.labels)} {name}" for name, images in found if images)
    height, width, depth = training.images.shape[1:]
    elapsed_s = time.monotonic() - started
    log(f"loaded {counts} images of {height}x{width}x{depth} in {len(training.classes)} classes in {elapsed_s:.1f} s")
    return sets


def _split(whole: LabelledImages, settings: Settings) -> tuple[LabelledImages, LabelledImages]:
    """Hold out a share of the images, chosen by the seed."""
    order = np.random.default_rng(settings.seed).permutation(len(whole.labels))
    count = min(max(1, round(settings.validation_fraction * len(order))), len(order) - 1)
    parts = [np.sort(order[count:]), np.sort(order[:count])]
    training, validation = (LabelledImages(whole.images[part], whole.labels[part], whole.classes) for part in parts)
    return training, validation
