"""Which images of each batch are this host's."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from container.data.loading import LabeledImages, Stream
from container.errors import UserError
from container.training.channels import Sets, image_shape

if TYPE_CHECKING:
    from container.training.distributed.rendezvous import Hosts


@dataclasses.dataclass(frozen=True)
class Share:
    """A host's part of the training images and of each batch."""

    image_count: int
    """Training images of all hosts together, each counted once."""
    class_counts: npt.NDArray[np.int64]
    """`[class]`, of all hosts together."""
    low: int
    """Position in each batch of the first image of this host."""
    high: int
    """Position after its last one; equal to `low` for a host without images."""
    sharded: bool
    """Whether the hosts have different images; otherwise all have all of them and take turns."""


def share_alone(data: LabeledImages | Stream, batch_size: int) -> Share:
    """Give the share of the only host: everything."""
    counts = np.bincount(data.labels, minlength=len(data.classes))
    return Share(len(data.labels), counts, 0, min(batch_size, len(data.labels)), sharded=False)


def share_replicated(data: LabeledImages | Stream, batch_size: int, hosts: Hosts) -> Share:
    """Give the share of a host where all have the same images: an equal part of each batch."""
    alone = share_alone(data, batch_size)
    size = alone.high
    bounds = [size * rank // hosts.count for rank in (hosts.rank, hosts.rank + 1)]
    return dataclasses.replace(alone, low=bounds[0], high=bounds[1])


def share_sharded(
    data: LabeledImages | Stream, batch_size: int, image_counts: list[int], rank: int
) -> Share:
    """Give the share of a host whose images nobody else has: as much of each batch as it has of all images.

    So an epoch is over on all hosts after the same number of steps, and sees each image about once
    (IN-7).
    """
    total = sum(image_counts)
    size = min(batch_size, total)
    bounds = np.round(np.cumsum([0, *image_counts]) * (size / total)).astype(int)
    counts = np.bincount(data.labels, minlength=len(data.classes))
    return Share(total, counts, int(bounds[rank]), int(bounds[rank + 1]), sharded=True)


def divide(sets: Sets, batch_size: int, hosts: Hosts, *, sharded: bool) -> tuple[Sets, Share]:
    """Give this host's share, and its sets with the classes and the shape of all hosts' images.

    Hosts that were promised the same images and have others, as where a directory is empty, share
    as if sharded.

    Raises: UserError if the hosts' images differ in shape, none has any, or a test label is in no
    host's training set.
    """
    data = sets.training
    own = {
        "shape": list(image_shape(data)),
        "classes": list(data.classes),
        "count": len(data.labels),
    }
    found = hosts.exchange(own)
    if not sharded and own["count"] and all(entry == own for entry in found):
        return sets, share_replicated(data, batch_size, hosts)
    shapes = {tuple(entry["shape"]) for entry in found if entry["count"]}
    if len(shapes) != 1:
        told = ", ".join(
            f"{name}: {entry['shape']}" for name, entry in zip(hosts.names, found, strict=True)
        )
        message = f"the hosts' training images must have one shape; found {told}"
        raise UserError(message)
    names = {name for entry in found for name in entry["classes"]}
    mixed = any(isinstance(name, str) for name in names)
    classes = tuple(sorted({str(name) for name in names}) if mixed else sorted(names))
    if isinstance(data, LabeledImages):
        data = dataclasses.replace(data, images=data.images.reshape(-1, *shapes.pop()))
    validation, test = (
        _rename(images, classes) if images else None for images in (sets.validation, sets.test)
    )
    sets = Sets(_rename(data, classes), validation, test)
    return sets, share_sharded(
        sets.training, batch_size, [entry["count"] for entry in found], hosts.rank
    )


def _rename(images: Any, classes: tuple[int | str, ...]) -> Any:
    """Give a set with `classes` in the place of its own."""
    positions = {str(name): index for index, name in enumerate(classes)}
    strangers = [repr(name) for name in images.classes if str(name) not in positions]
    if strangers:
        message = f"no host has training images of the classes {', '.join(strangers)}, which another channel has"
        raise UserError(message)
    lookup = np.array([positions[str(name)] for name in images.classes] or [0], np.int32)
    return dataclasses.replace(images, labels=lookup[images.labels], classes=classes)
