"""Model data on its way into a serving container."""

import os
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from container.errors import UserError
from container.user_packages import archive
from local_test.data import channels, storage


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
        _unpack(packed, uri.removeprefix("file://"), directory)
        packed.unlink()
        return
    channels.deliver(storage.list_objects(uri), directory)


def check_presence(container: Mapping[str, Any]) -> None:
    """Check that the model data of a container definition exists, as CreateModel does.

    An archive is one object; a directory of models may still be empty, as it is filled later.

    Raises: UserError.
    """
    uri = find_uri(container)
    if not uri or container.get("Mode") == "MultiModel":
        return
    source = container.get("ModelDataSource", {}).get("S3DataSource", {})
    is_prefix = source.get("S3DataType") == "S3Prefix"
    names = [item.uri for item in storage.list_objects(uri, may_be_empty=True)]
    if uri in names or (names and is_prefix):
        return
    near = f"; the nearest object is {names[0]}" if names else ""
    raise UserError(f"Could not find model data at {uri}{near}.")


def _unpack(source: Path, name: str, target: Path) -> None:
    """Unpack an archive that the user knows as `name`, as CreateModel does (OUT-6)."""
    try:
        with tarfile.open(source, "r:gz", tarinfo=archive.Member) as tar:
            members = archive.list_members(tar, source.stat().st_size)
            wrong = [member.name for member in members if not archive.is_harmless(member)]
            if wrong:
                raise UserError(
                    f"{name} holds links, special files or paths that lead out of it, which "
                    f"CreateModel refuses (OUT-6): {', '.join(wrong[:5])}"
                )
            archive.unpack(tar, members, target)
    except (tarfile.TarError, OSError) as error:
        message = f"{name} is not a complete tar.gz archive: {error}{archive.explain(source)}"
        raise UserError(message) from error
