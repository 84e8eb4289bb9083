"""Which images of each batch belong to this host."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from container.data.formats.parts import Label
from container.data.images import LabeledImages
from container.data.labels import Names, settle
from container.data.stream import ImageSet
from container.errors import UserError
from container.training.input.channels import Sets

if TYPE_CHECKING:
    from container.training.distributed.rendezvous import Hosts


@dataclasses.dataclass(frozen=True)
class Share:
    """The part that a host has of the training images and of each batch."""

    image_count: int
    """Training images of all hosts, each counted once."""
    class_counts: npt.NDArray[np.int64]
    """`[class]`, of all hosts."""
    low: int
    """Position in each batch of the first image of this host."""
    high: int
    """Position after its last one; equal to `low` for a host without images."""
    sharded: bool
    """Whether the hosts have different images; otherwise each has all of them."""

    def weigh_classes(self) -> npt.NDArray[np.float64]:
        """Return weights `[class]` that make classes count equally, and the mean image as 1."""
        counts = self.class_counts
        weights: npt.NDArray[np.float64] = counts.sum() / (len(counts) * np.maximum(counts, 1))
        return weights


def share_alone(data: ImageSet, batch_size: int) -> Share:
    """Return the share of the only host: everything."""
    counts = np.bincount(data.labels, minlength=len(data.classes))
    return Share(len(data.labels), counts, 0, min(batch_size, len(data.labels)), sharded=False)


def share_replicated(data: ImageSet, batch_size: int, hosts: Hosts) -> Share:
    """Return an equal part of each batch, for hosts that have the same images."""
    alone = share_alone(data, batch_size)
    size = alone.high
    bounds = [size * rank // hosts.count for rank in (hosts.rank, hosts.rank + 1)]
    return dataclasses.replace(alone, low=bounds[0], high=bounds[1])


def share_sharded(data: ImageSet, batch_size: int, image_counts: list[int], rank: int) -> Share:
    """Return a part of each batch as large as this host's part of all images.

    So an epoch has the same number of steps on all hosts, and uses each image about once (IN-7).
    """
    total = sum(image_counts)
    size = min(batch_size, total)
    bounds = np.round(np.cumsum([0, *image_counts]) * (size / total)).astype(int)
    counts = np.bincount(data.labels, minlength=len(data.classes))
    return Share(total, counts, int(bounds[rank]), int(bounds[rank + 1]), sharded=True)


def divide(sets: Sets, batch_size: int, hosts: Hosts, *, sharded: bool) -> tuple[Sets, Share]:
    """Return the sets with the classes and shape of the images of all hosts, and this host's share.

    Hosts whose images should be the same and are not, as if a directory is empty, share as if
    sharded.

    Raises: UserError if the images of the hosts differ in shape, there are none, or a label of
    another set is in no training set.
    """
    data = sets.training
    if hosts.count == 1:
        return sets, share_alone(data, batch_size)
    own: dict[str, Any] = {
        "shape": list(data.image_shape),
        "classes": list(data.classes),
        "count": len(data.labels),
        "labels": zlib.crc32(np.ascontiguousarray(data.labels).data),
    }
    found = hosts.exchange(own)
    if not sharded and own["count"] and all(entry == own for entry in found):
        return sets, share_replicated(data, batch_size, hosts)
    if not sharded:
        _warn(found, sets, hosts)
    shape = _find_shape(found, hosts)
    classes = settle(itertools.chain(*(entry["classes"] for entry in found)))
    if isinstance(data, LabeledImages):
        data = dataclasses.replace(data, images=data.images.reshape(-1, *shape))
    validation = sets.validation and _rename(sets.validation, classes)
    test = sets.test and _rename(sets.test, classes)
    joined = Sets(_rename(data, classes), validation, test)
    counts = [entry["count"] for entry in found]
    return joined, share_sharded(joined.training, batch_size, counts, hosts.rank)


def _warn(found: list[Any], sets: Sets, hosts: Hosts) -> None:
    """Log that hosts do not have the same images, and what of them is not used."""
    pairs = zip(hosts.names, found, strict=True)
    listed = ", ".join(f"{name}: {entry['count']:,}" for name, entry in pairs)
    text = f"the hosts should have the same training images, and theirs differ ({listed})"
    if sets.validation and hosts.rank:
        count = len(sets.validation.labels)
        text += f"; {count:,} of this host are held out by validation_fraction and not used"
    print(f"warning: {text}", flush=True)


def _find_shape(found: list[Any], hosts: Hosts) -> tuple[int, ...]:
    shapes = {tuple(entry["shape"]) for entry in found if entry["count"]}
    if len(shapes) != 1:
        pairs = zip(hosts.names, found, strict=True)
        listed = ", ".join(f"{name}: {entry['shape']}" for name, entry in pairs)
        raise UserError(f"the training images of all hosts must have one shape; found {listed}")
    return shapes.pop()


def _rename(images: Any, classes: tuple[Label, ...]) -> Any:
    """Return a set with `classes` in place of its own, which may spell them in other ways.

    Raises: UserError if it has a class that is not among them, or two that would be one.
    """
    try:
        indices = Names(classes, functools.partial(print, flush=True)).find_all(images.classes)
    except ValueError as error:
        raise UserError(f"the labels of another channel or host: {error}") from error
    unknown = [
        repr(str(label)) for label, index in zip(images.classes, indices, strict=True) if index < 0
    ]
    if unknown:
        raise UserError(
            f"another channel has the classes {', '.join(unknown)}, of which no host has training "
            "images"
        )
    lookup = np.array(indices or [0], np.int32)
    return dataclasses.replace(images, labels=lookup[images.labels], classes=classes)
