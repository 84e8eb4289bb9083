"""Input channels: which objects a host gets of a channel, and how they enter its job directory."""

import json
import os
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from container.errors import UserError
from local_test.data import record_formats, storage
from local_test.data.storage import StoredObject

Item = TypeVar("Item")


def source_of(channel: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a channel's S3DataSource."""
    source: Mapping[str, Any] = channel["DataSource"]["S3DataSource"]
    return source


def input_mode(request: Mapping[str, Any], channel: Mapping[str, Any]) -> str:
    """Return a channel's input mode, which defaults to the job's."""
    return str(
        channel.get("InputMode")
        or request.get("AlgorithmSpecification", {}).get("TrainingInputMode")
        or "File"
    )


def list_channel(channel: Mapping[str, Any]) -> list[StoredObject]:
    """Return all objects of a channel, or of a transform's input, in the order of delivery.

    Raises: UserError if there are none, or if a manifest cannot be read.
    """
    return shuffle(list_source(source_of(channel)), channel)


def list_source(source: Mapping[str, Any]) -> list[StoredObject]:
    """Return the objects below an S3 source's prefix, or those that its manifest names.

    Raises: UserError if there are none, or if a manifest cannot be read.
    """
    if source["S3DataType"] == "ManifestFile":
        return _read_manifest(source["S3Uri"])
    return storage.list_objects(source["S3Uri"])


def shuffle(items: Sequence[Item], channel: Mapping[str, Any], epoch: int = 0) -> list[Item]:
    """Return the items in an epoch's order, shuffled if the request has a seed (IN-8)."""
    result = list(items)
    seed = channel.get("ShuffleConfig", {}).get("Seed")
    if seed is not None:
        random.Random(seed + epoch).shuffle(result)  # noqa: S311 - a repeatable order
    return result


def _read_manifest(uri: str) -> list[StoredObject]:
    try:
        head, *names = record_formats.read_json(storage.read(uri))
        prefix = head["prefix"]
        places = [(name, prefix + name) for name in names]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        form = '[{"prefix": "s3://..."}, "name", ...]'
        raise UserError(f"the manifest {uri} does not have the form {form}: {error}") from error
    if not places:
        raise UserError(f"the manifest {uri} names no object behind its prefix")
    objects = []
    for name, place in places:
        storage.check_reference(uri, place)
        found = {entry.uri: entry for entry in storage.list_objects(place)}
        if place not in found:
            raise UserError(f"the manifest {uri} names {place}, which does not exist")
        objects.append(StoredObject(place, name, found[place].size_bytes))
    return objects


def share(
    objects: Sequence[StoredObject], channel: Mapping[str, Any], host_index: int, host_count: int
) -> list[StoredObject]:
    """Return a host's part: all objects, or every `host_count`-th by key when sharded (IN-7)."""
    if source_of(channel).get("S3DataDistributionType", "FullyReplicated") == "FullyReplicated":
        return list(objects)
    return list(objects[host_index::host_count])


def deliver(objects: Sequence[StoredObject], directory: Path, *, is_linked: bool = False) -> None:
    """Put the objects into `directory` under their names.

    In File mode they are copies, which a container may change. In FastFile mode, `is_linked`, they
    are links where possible, and the runner mounts them read-only (IN-3). No file that is there
    already is written to: it may be a link to the user's own file.

    Raises: UserError if two names are the same place or clash as file and directory, or the disk
        is full.
    """
    directory.mkdir(parents=True, exist_ok=True)
    for item in dict.fromkeys(objects):  # a manifest may name one twice
        target = storage.find_place(item, directory)
        if os.path.lexists(target):
            storage.refuse_clash(item, target)
        if not (is_linked and _link(item.uri, target)):
            storage.fetch(item.uri, target)


def _link(uri: str, target: Path) -> bool:
    if not uri.startswith("file://"):
        return False
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        os.link(storage.to_path(uri).resolve(), target)
    except OSError:  # such as another file system; a copy may fail for the same reason
        return False
    return True


def write_manifest(objects: Sequence[StoredObject], path: Path) -> None:
    """Write the file that the platform puts beside a channel's directory (TF-3)."""
    prefix = min(item.uri[: len(item.uri) - len(item.name)] for item in objects)
    names = [item.uri.removeprefix(prefix) for item in objects]
    path.write_text(json.dumps([{"prefix": prefix}, *names]), encoding="utf-8")
