"""The channels of a training job: which there are, and what they hold."""

import dataclasses
import time
from collections.abc import Callable, Iterator

from container import contract
from container.contract import Channel
from container.data import copies, loading, sets
from container.data.formats.parts import Options, Part, Task
from container.data.images import LabeledImages
from container.data.stream import ImageSet, Stream
from container.errors import UserError
from container.training.settings import Settings

TRAINING = ("training", "train")
VALIDATION = ("validation",)
TEST = ("test", "testing")
PRETRAINED = ("pretrained", "model")
_POSSIBLE = "training or train, validation, test or testing, pretrained or model"
_KNOWN = (*TRAINING, *VALIDATION, *TEST, *PRETRAINED)


@dataclasses.dataclass(frozen=True)
class Channels:
    """The channels by their use; absent ones are None."""

    training: Channel
    validation: Channel | None
    test: Channel | None
    pretrained: Channel | None
    host_count: int
    sharded: bool
    """Whether the hosts have different training images."""
    unused: tuple[str, ...]
    """Names of the channels that have no use."""
    evaluates: bool
    """Whether this host reads the validation and test images: only the chief does."""


@dataclasses.dataclass(frozen=True)
class Sets:
    """The images of the channels; absent ones are None."""

    training: ImageSet
    validation: ImageSet | None
    test: LabeledImages | None


def find(layout: contract.Layout, config: contract.TrainingConfig) -> Channels:
    """Find the channels by their names.

    The configuration names the channels (TF-3); without it, as in a plain `docker run`, they are
    those whose directory exists. A training channel may be absent on one of several hosts, as if
    its shard were empty (DS-7).

    Raises: UserError if there is no training channel.
    """
    available = dict(config.channels)
    if not layout.input_data_config.exists():
        available = {name: Channel(name) for name in _KNOWN if layout.channel(name).is_dir()}

    def pick(names: tuple[str, ...]) -> Channel | None:
        return next((available[name] for name in names if name in available), None)

    groups = (TRAINING, VALIDATION, TEST, PRETRAINED)
    used = {channel.name for channel in map(pick, groups) if channel}
    training, resources = pick(TRAINING), config.resources
    has_peers = len(resources.hosts) > 1
    if training is None and not has_peers:
        raise UserError(
            "the job has no training channel: it needs one named "
            f"{' or '.join(map(repr, TRAINING))}; "
            f"its channels are {', '.join(sorted(available)) or 'none'}"
        )
    is_sharded = training is None or training.distribution == "ShardedByS3Key"
    return Channels(
        training=training or Channel(TRAINING[0]),
        validation=pick(VALIDATION),
        test=pick(TEST),
        pretrained=pick(PRETRAINED),
        host_count=len(resources.hosts),
        sharded=has_peers and is_sharded,
        unused=tuple(sorted(available.keys() - {*used, contract.CODE_CHANNEL})),
        evaluates=resources.rank == 0,
    )


def load(
    layout: contract.Layout,
    channels: Channels,
    settings: Settings,
    run: Callable[[Iterator[Task]], Iterator[Part]],
    log: Callable[[str], None],
) -> Sets:
    """Load all sets; validation and test images must have the shape and classes of training images.

    `run` runs the tasks of the readers, and yields their parts in order.
    A host of several may have no training images (IN-7), and only the chief reads the other sets.

    Raises: UserError with the faults.
    """
    started = time.monotonic()
    for warning in find_doubts(channels):
        log(f"warning: {warning}")
    options = dataclasses.replace(_make_options(settings), run=run, keeps_spelling=channels.sharded)
    has_peers = channels.host_count > 1
    training = loading.open_channel(layout, channels.training, options, allow_empty=has_peers)
    # A shard may lack classes; the hosts join and check their classes once they are connected.
    if not channels.sharded and len(training.labels):
        options = dataclasses.replace(
            options, image_shape=training.image_shape, classes=training.classes
        )
    validation = test = None
    if channels.evaluates:
        validation = _compare(
            _load_other(layout, channels.validation, options, "validation"), "validation", training
        )
        test = _compare(_load_other(layout, channels.test, options, "test"), "test", training)
    if channels.validation is None and settings.validation_fraction and len(training.labels) > 1:
        training, validation = _hold_out(training, channels, settings, log)
    training = dataclasses.replace(training, prints=None)
    if channels.evaluates and not (test or validation):
        _check_gate(settings)
    _report(training, "training", log)
    _report(validation, "validation", log)
    _report(test, "test", log)
    log(f"read the channels in {time.monotonic() - started:.1f} s")
    return Sets(training, validation, test.mapped() if isinstance(test, Stream) else test)


def _hold_out(
    training: ImageSet, channels: Channels, settings: Settings, log: Callable[[str], None]
) -> tuple[ImageSet, ImageSet | None]:
    """Hold out images for the chief to measure: the same ones if the hosts have the same images."""
    if channels.sharded and not channels.evaluates:
        return training, None
    if channels.sharded:
        log("warning: validation_fraction holds out images of this host only, not of the others")
    return sets.split(training, settings.validation_fraction, settings.seed)


def find_doubts(channels: Channels) -> list[str]:
    """Name the channels of which this job reads nothing, or only a part."""
    doubts = [
        f"the channel {name!r} is not read; training reads only {_POSSIBLE}"
        for name in channels.unused
    ]
    if channels.host_count == 1:
        return doubts
    doubts += [
        f"the channel {channel.name!r} is {channel.distribution}, and only the first host "
        "measures: the parts of the others are not used; make it FullyReplicated"
        for channel in (channels.validation, channels.test)
        if channel and channel.distribution != "FullyReplicated"
    ]
    return doubts


def _check_gate(settings: Settings) -> None:
    if settings.min_accuracy is not None or settings.min_f1 is not None:
        raise UserError(
            "min_accuracy and min_f1 need images to measure: add a channel named test or "
            "validation, or set validation_fraction"
        )


def _make_options(settings: Settings) -> Options:
    budget_mb = settings.memory_budget_mb
    return Options(
        data_format=settings.data_format,
        label_column=settings.label_column,
        charset=settings.charset,
        # settings.parse checks its length.
        image_shape=settings.image_shape,  # type: ignore[arg-type]
        resize=settings.resize,
        bad_record_limit=settings.bad_record_limit if settings.on_bad_record == "skip" else 0,
        memory_budget_bytes=None if budget_mb is None else budget_mb * 1_000_000,
    )


def _load_other(
    layout: contract.Layout, channel: Channel | None, options: Options, role: str
) -> ImageSet | None:
    """Load a validation or test set, or return None without a channel or images in it."""
    if channel is None:
        return None
    options = dataclasses.replace(options, role=role)
    allow_empty = channel.distribution != "FullyReplicated"
    images = loading.open_channel(layout, channel, options, allow_empty=allow_empty)
    return images if len(images.labels) else None


def _compare(images: ImageSet | None, name: str, training: ImageSet) -> ImageSet | None:
    """Note the images of a set that are in the training set, too."""
    if images is None:
        return None
    notes = images.notes
    if images.prints and training.prints:
        notes += tuple(copies.find_shared(images.prints, training.prints, name))
    return dataclasses.replace(images, notes=notes)


def _report(images: ImageSet | None, name: str, log: Callable[[str], None]) -> None:
    if images is not None:
        for line in sets.describe(images, name).splitlines():
            log(line)
