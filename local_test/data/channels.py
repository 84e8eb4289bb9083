"""Input channels: which objects a host gets of a channel, and how they appear in its job directory.

Rules of this file: a channel's bytes are the host's own copy in File mode, which a container may
write to; in FastFile mode they are linked, and the runner mounts them read-only (IN-3).
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from container.errors import UserError
from local_test.data import storage
from local_test.data.storage import StoredObject


def input_mode(request: Mapping[str, Any], channel: Mapping[str, Any]) -> str:
    """Give a channel's mode: its own, else the job's."""
    return str(
        channel.get("InputMode")
        or request.get("AlgorithmSpecification", {}).get("TrainingInputMode")
        or "File"
    )


def list_channel(channel: Mapping[str, Any]) -> list[StoredObject]:
    """List all objects of a channel in the order in which the platform delivers them.

    Raises: UserError if there are none, or if a manifest cannot be read.
    """
    source = channel["DataSource"]["S3DataSource"]
    if source["S3DataType"] == "ManifestFile":
        objects = _read_manifest(source["S3Uri"])
    else:
        objects = storage.list_objects(source["S3Uri"])
    seed = channel.get("ShuffleConfig", {}).get("Seed")
    if seed is not None:
        random.Random(seed).shuffle(objects)  # noqa: S311 - the request's own seed, for repeatable order (IN-8)
    return objects


def _read_manifest(uri: str) -> list[StoredObject]:
    try:
        head, *names = json.loads(storage.read(uri))
        prefix = head["prefix"]
        places = [(name, prefix + name) for name in names]
    except (ValueError, KeyError, TypeError) as error:
        message = f'the manifest {uri} is not of the form [{{"prefix": "s3://..."}}, "name", ...]: {error}'
        raise UserError(message) from error
    objects = []
    for name, place in places:
        found = {entry.uri: entry for entry in storage.list_objects(place)}
        if place not in found:
            message = f"the manifest {uri} names {place}, which does not exist"
            raise UserError(message)
        objects.append(StoredObject(place, name, found[place].size_bytes))
    return objects


def share(
    objects: Sequence[StoredObject], channel: Mapping[str, Any], host_index: int, host_count: int
) -> list[StoredObject]:
    """Give a host's part: all of them, or every `host_count`-th by key when sharded (IN-7)."""
    source = channel["DataSource"]["S3DataSource"]
    if source.get("S3DataDistributionType", "FullyReplicated") == "FullyReplicated":
        return list(objects)
    return list(objects[host_index::host_count])


def deliver(objects: Sequence[StoredObject], directory: Path, *, is_linked: bool) -> None:
    """Make `directory` hold the objects under their names.

    Raises: UserError if two names clash as file and directory, or the disk is full.
    """
    directory.mkdir(parents=True, exist_ok=True)
    for item in objects:
        target = directory / item.name
        if not target.resolve().is_relative_to(directory.resolve()):
            message = f"{item.uri} would lie outside of its channel as {target}"
            raise UserError(message)
        if is_linked and item.uri.startswith("file://"):
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(storage.to_path(item.uri).resolve(), target)
                continue
            except OSError:  # another file system
                pass
        storage.fetch(item.uri, target)


def write_manifest(objects: Sequence[StoredObject], path: Path) -> None:
    """Write the file that sits beside the channel directories and catches who lists them (TF-3)."""
    prefix = min(item.uri[: len(item.uri) - len(item.name)] for item in objects)
    names = [item.uri.removeprefix(prefix) for item in objects]
    path.write_text(json.dumps([{"prefix": prefix}, *names]), encoding="utf-8")
