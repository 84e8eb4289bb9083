"""Everything that is settled before the first step: data, device, hosts, and this host's share.

Rules of this file: whatever can be found wrong without TensorFlow is found before it is imported;
the data is read while it is imported.
"""

from __future__ import annotations

import dataclasses
import math
import shutil
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from container import artifact, contract
from container.algorithm import Job
from container.data.formats.parts import Shape
from container.errors import PlatformError, UserError
from container.training import phases
from container.training.defaults import recipes
from container.training.distributed import shares
from container.training.distributed.shares import Share
from container.training.input import channels
from container.training.input.channels import Sets
from container.training.input.decoding import Decoder
from container.training.settings import Settings
from container.training.step import device as devices

if TYPE_CHECKING:
    from container.training.distributed.rendezvous import Hosts

_DEFAULT_STEPS = 500  # a small set needs as many steps, hence more epochs
_DEFAULT_EPOCHS_MAXIMUM = 100  # of a few photos, which would take minutes to no use
_EXPORT_BYTES_PER_PARAMETER = 3 * 4  # Keras model, SavedModel and flatbuffer, float32 each


@dataclasses.dataclass(frozen=True)
class Prepared:
    """A job that is ready to train."""

    job: Job[Settings]
    settings: Settings
    """The hyperparameters, with `model`, its defaults, `epochs` and `batch_size` settled."""
    sets: Sets
    pretrained: Path | None
    """Directory of the channel with a pretrained model."""
    deadline: float
    """End of `max_runtime_s` on the monotonic clock."""
    device: devices.Device
    hosts: Hosts
    share: Share


def prepare(job: Job[Settings]) -> Prepared:
    """Read the channels, set up TensorFlow, and connect to the other hosts.

    Raises: UserError or PlatformError with the reason why the job cannot be done.
    """
    started = time.monotonic()
    settings, resources = job.hyperparameters, job.config.resources
    found = channels.find(job.layout, job.config)
    with artifact.staging(job.layout.model):
        pass  # a model directory that is not writable fails now, not after the training
    decoder = Decoder()
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="load") as pool, decoder:
        read = phases.measure("reading of the channels")(channels.load)
        loading = pool.submit(read, job.layout, found, settings, decoder.run, log)
        with phases.measure("import of TensorFlow"):  # takes seconds; the data is read meanwhile
            devices.import_tensorflow()
        log(f"imported TensorFlow in {time.monotonic() - started:.1f} s")
        shape = decoder.wait_for_shape(loading)
        own = _choose_model(job, found, shape)
        device = _set_up_device(own, len(resources.hosts), shape)
        # TensorFlow connects to other hosts before its first operation, such as decoding.
        hosts = _connect(resources, settings, device.places)
        # A host without images does not know their shape.
        settings = _choose_model(job, found, max(map(tuple, hosts.exchange(list(shape)))), log)
        decoder.start()
        fault = loading.exception()
    if fault and (len(resources.hosts) == 1 or not isinstance(fault, (UserError, PlatformError))):
        raise fault
    if settings.deterministic:  # what was decoded until here is the same in any case
        devices.make_deterministic()
    _share_faults(hosts, fault)
    sets, share = shares.divide(loading.result(), settings.batch_size, hosts, sharded=found.sharded)
    classes = sets.training.classes
    if len(classes) < 2:
        raise UserError(
            f"the training channel holds only one class, {classes[0]!r}; expected two or more; if "
            "the labels of CSV are in another column, set label_column, such as last"
        )
    return Prepared(
        job=job,
        settings=complete(settings, share.image_count),
        sets=sets,
        pretrained=job.layout.channel(found.pretrained.name) if found.pretrained else None,
        deadline=started + (settings.max_runtime_s or math.inf),
        device=device,
        hosts=hosts,
        share=share,
    )


def check_free_space(directory: Path, parameter_count: int) -> None:
    """Refuse to train a model that could not be saved.

    Raises: PlatformError with the bytes needed and the bytes free.
    """
    needed = parameter_count * _EXPORT_BYTES_PER_PARAMETER + (1 << 20)
    free = shutil.disk_usage(directory).free
    if free < needed:
        raise PlatformError(f"{directory} has {free:,} bytes left; the model needs {needed:,}")


def describe_plan(settings: Settings, image_count: int) -> str:
    """Describe epochs and steps in words, and the images that an epoch has no step for."""
    batch_size = settings.batch_size
    steps = image_count // batch_size
    text = f"{settings.epochs} epochs of {steps} step{'s' * (steps != 1)} of {batch_size} images"
    if left := image_count - steps * batch_size:
        text += f"; each epoch leaves out {left} of {image_count} images, different ones each time"
    return text


def log(line: str) -> None:
    """Print a line to the log of the job."""
    print(line, flush=True)


def _choose_model(
    job: Job[Settings],
    found: channels.Channels,
    shape: Shape,
    log: Callable[[str], None] = lambda _: None,
) -> Settings:
    """Return the hyperparameters with the network for images of `shape`, and its defaults.

    Raises: UserError if the channel of pretrained weights has not one file with weights.
    """
    settings = job.hyperparameters
    directory = job.layout.channel(found.pretrained.name) if found.pretrained else None
    if settings.model == recipes.AUTO:
        model, reason = recipes.choose_model(shape, directory)
        if any(shape):  # else no image could be read
            log(f"model={model}: {reason}")
        settings = dataclasses.replace(settings, model=model)
    given = job.config.hyperparameters
    return recipes.complete(settings, given, fine_tunes=directory is not None)


def _set_up_device(settings: Settings, host_count: int, shape: Shape) -> devices.Device:
    """Choose the device for this host's part of a batch, and set TensorFlow's threads."""
    host_batch_size = max(1, settings.batch_size // host_count)
    own = dataclasses.replace(settings, batch_size=host_batch_size)
    device = devices.choose(own, shape, devices.describe_gpus())
    devices.configure(device)
    for reason in device.reasons:
        log(reason)
    return device


def _connect(resources: contract.Resources, settings: Settings, places: Sequence[str]) -> Hosts:
    from container.training.distributed import rendezvous

    return rendezvous.connect(resources, settings.host_wait_s, log, places)


def _share_faults(hosts: Hosts, fault: BaseException | None) -> None:
    """Let a fault of one host fail all of them, for the same reason.

    Raises: UserError that names hosts and faults.
    """
    texts = hosts.exchange(fault and f"{type(fault).__name__}: {fault}")
    faults = [f"{name}: {text}" for name, text in zip(hosts.names, texts, strict=True) if text]
    if faults:
        raise UserError.from_faults("a host of the job cannot train", faults)


def complete(settings: Settings, image_count: int) -> Settings:
    """Settle what depends on the number of training images."""
    batch_size = min(settings.batch_size, image_count)
    steps_per_epoch = image_count // batch_size
    usual = recipes.count_default_epochs(settings.model)
    wanted = min(_DEFAULT_EPOCHS_MAXIMUM, math.ceil(_DEFAULT_STEPS / steps_per_epoch))
    epochs = settings.epochs or max(usual, wanted)
    return dataclasses.replace(settings, epochs=epochs, batch_size=batch_size)
