"""Model data on its way into a serving container."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from local_test.data import job_outputs, storage


def find_uri(container: Mapping[str, Any]) -> str:
    """Return the URI of a container definition's model data; empty if it has none."""
    source = container.get("ModelDataSource", {}).get("S3DataSource", {})
    return str(container.get("ModelDataUrl") or source.get("S3Uri") or "")


def deliver(container: Mapping[str, Any], directory: Path, *, is_truncated: bool = False) -> None:
    """Put the model of a container definition into `directory`; it stays empty without one (HO-3).

    `is_truncated` cuts the archive in half before it is unpacked.

    Raises: UserError if the archive or prefix does not exist, or CreateModel would refuse it.
    """
    directory.mkdir(parents=True, exist_ok=True)
    uri = find_uri(container)
    if not uri:
        return
    source = container.get("ModelDataSource", {}).get("S3DataSource", {})
    if "ModelDataUrl" in container or source.get("CompressionType") == "Gzip":
        packed = directory.with_name("model.tar.gz")
        storage.fetch(uri, packed)
        if is_truncated:
            os.truncate(packed, packed.stat().st_size // 2)
        job_outputs.unpack(packed, directory)
        packed.unlink()
        return
    for item in storage.list_objects(uri):
        storage.fetch(item.uri, directory / item.name)
