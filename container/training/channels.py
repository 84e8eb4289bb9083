"""The channels of a training job: which there are, and what they hold."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable

from container import contract
from container.contract import Channel
from container.data import loading
from container.data.loading import LabeledImages, Stream
from container.errors import UserError
from container.training.settings import Settings

TRAINING = ("training", "train")
VALIDATION = ("validation",)
TEST = ("test", "testing")
PRETRAINED = ("pretrained", "model")


@dataclasses.dataclass(frozen=True)
class Channels:
    """The channels by their use; absent ones are None."""

    training: Channel
    validation: Channel | None
    test: Channel | None
    pretrained: Channel | None
    host_count: int
    sharded: bool
    """Whether other hosts have other training images."""
    evaluates: bool
    """Whether this host reads the validation and test images: only the chief does."""


@dataclasses.dataclass(frozen=True)
class Sets:
    """What the channels hold; absent ones are None."""

    training: LabeledImages | Stream
    validation: LabeledImages | Stream | None
    test: LabeledImages | None


def find(layout: contract.Layout, config: contract.TrainingConfig) -> Channels:
    """Find the channels by their names.

    Channels are those that the configuration names (TF-3); without that file, as in a plain `docker
    run`, those whose directory exists.

    Raises: UserError if there is no training channel.
    """
    there = dict(config.channels)
    if not layout.input_data_config.exists():
        known = (*TRAINING, *VALIDATION, *TEST, *PRETRAINED)
        there = {name: Channel(name) for name in known if layout.channel(name).is_dir()}

    def pick(aliases: tuple[str, ...]) -> Channel | None:
        return next((there[name] for name in aliases if name in there), None)

    training = pick(TRAINING)
    if training is None and len(config.resources.hosts) > 1:
        training = Channel(
            TRAINING[0]
        )  # DS-7: a channel may be absent on a host, as if its shard were empty
    if training is None:
        message = (
            f"there is no training channel: one named {' or '.join(map(repr, TRAINING))} is needed; "
            f"the job's channels are {', '.join(sorted(there)) or 'none'}"
        )
        raise UserError(message)
    sharded = len(config.resources.hosts) > 1 and (
        training.name not in there or training.distribution == "ShardedByS3Key"
    )
    resources = config.resources
    return Channels(
        training,
        pick(VALIDATION),
        pick(TEST),
        pick(PRETRAINED),
        len(resources.hosts),
        sharded,
        resources.rank == 0,
    )


def load(
    layout: contract.Layout, channels: Channels, settings: Settings, log: Callable[[str], None]
) -> Sets:
    """Load all sets; validation and test images must have the training images' shape and classes.

    Of several hosts, one may have no training images (IN-7), and none but the chief reads the
    others.

    Raises: UserError that names the faults.
    """
    started = time.monotonic()
    training = _open(
        layout, channels.training, settings, "train", allow_empty=channels.host_count > 1
    )
    # The classes of a shard are not all classes: they are joined, and checked, when the hosts are
    # connected.
    like = None if channels.sharded or not len(training.labels) else training
    validation, test = (
        _open(
            layout,
            channel,
            settings,
            role,
            like,
            allow_empty=channel.distribution != "FullyReplicated",
        )
        if channel and channels.evaluates
        else None
        for channel, role in ((channels.validation, "validation"), (channels.test, "test"))
    )
    validation, test = (
        images if images and len(images.labels) else None for images in (validation, test)
    )
    if channels.validation is None and settings.validation_fraction and len(training.labels) > 1:
        training, validation = loading.split(training, settings.validation_fraction, settings.seed)
    is_gated = settings.min_accuracy is not None or settings.min_f1 is not None
    if is_gated and channels.evaluates and test is None and validation is None:
        message = "min_accuracy and min_f1 need images to measure: a channel named test or validation, or validation_fraction"
        raise UserError(message)
    for images, name in ((training, "training"), (validation, "validation"), (test, "test")):
        if images is not None:
            for line in loading.describe(images, name).splitlines():
                log(line)
    log(f"read the channels in {time.monotonic() - started:.1f} s")
    return Sets(training, validation, test.mapped() if isinstance(test, Stream) else test)


def _open(  # noqa: PLR0913 - the settings of one call
    layout: contract.Layout,
    channel: Channel,
    settings: Settings,
    role: str,
    like: LabeledImages | Stream | None = None,
    *,
    allow_empty: bool = False,
) -> LabeledImages | Stream:
    """Read a channel; with `like` given, images must have its shape and labels must be among its classes."""
    budget = settings.memory_budget_mb
    shape = settings.image_shape if like is None else image_shape(like)
    return loading.open_channel(
        layout,
        channel,
        label_column=settings.label_column,
        image_shape=shape,  # type: ignore[arg-type]  # settings.parse has checked its length
        classes=None if like is None else like.classes,
        data_format=settings.data_format,
        resize=settings.resize,
        on_bad_record=settings.on_bad_record,
        bad_record_limit=settings.bad_record_limit,
        role=role,
        allow_empty=allow_empty,
        memory_budget_bytes=None if budget is None else budget * 1_000_000,
    )


def image_shape(images: LabeledImages | Stream) -> tuple[int, int, int]:
    """Give height, width and channels."""
    height, width, depth = (
        images.image_shape if isinstance(images, Stream) else images.images.shape[1:]
    )
    return height, width, depth
