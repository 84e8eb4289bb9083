"""Objects behind URIs: `file:///...` on this disk, `s3://...` through boto3 at any endpoint.

A URI is a *string* prefix, as in S3 (IN-9): `file:///data/train` also names `/data/train2/x`; end
it with a slash to mean a directory. The order is that of the keys. Keys and paths stand in a URI as
they are, nothing is percent-encoded.

Rules of this file: nothing else in the harness reads or writes a URI.
"""

from __future__ import annotations

import fcntl
import functools
import os
import shutil
import tempfile
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from container.errors import UserError

_FICLONE = 0x40049409


@dataclass(frozen=True)
class StoredObject:
    """One object; `name` is its path below the prefix that listed it."""

    uri: str
    name: str
    size_bytes: int


def to_uri(path: Path | str, *, is_directory: bool = False) -> str:
    """Give the URI of a path on this disk; a text that already is a URI stays as it is."""
    if isinstance(path, str) and "://" in path:
        return path
    absolute = str(Path(path).expanduser().absolute())
    return "file://" + absolute + ("/" if is_directory and absolute != "/" else "")


def to_path(uri: str) -> Path:
    """Give the path of a `file://` URI."""
    return Path(uri.removeprefix("file://"))


def list_objects(uri: str, *, may_be_empty: bool = False) -> list[StoredObject]:
    """List all objects whose key starts with `uri`, sorted by key.

    Raises: UserError if the bucket or directory does not exist or cannot be read, or if nothing has
    the prefix
        unless that may be.
    """
    if may_be_empty and uri.startswith("file://") and not to_path(uri.rpartition("/")[0]).is_dir():
        return []
    listed = sorted(_list_local(uri) if uri.startswith("file://") else _list_s3(uri))
    found = [StoredObject(key, _name_below(uri, key), size) for key, size in listed]
    if not found and not may_be_empty:
        message = f"no object has the prefix {uri}"
        raise UserError(message)
    return found


def _name_below(prefix: str, key: str) -> str:
    if key == prefix:
        return key.rsplit("/", 1)[1]
    if key.startswith(prefix.rstrip("/") + "/"):
        return key[len(prefix.rstrip("/")) + 1 :]
    return key[prefix.rfind("/") + 1 :]


def _list_local(prefix: str) -> Iterator[tuple[str, int]]:
    start = prefix.removeprefix("file://")
    directory, _, stem = start.rpartition("/")
    try:
        entries = sorted(os.scandir(directory or "/"), key=lambda entry: entry.name)
    except OSError as error:
        message = f"{prefix} cannot be listed: {error}"
        raise UserError(message) from error
    for entry in entries:
        if not entry.name.startswith(stem):
            continue
        if entry.is_dir():
            for folder, _, names in os.walk(entry.path, followlinks=True):
                for name in names:
                    path = f"{folder}/{name}"
                    yield f"file://{path}", Path(path).stat().st_size
        else:
            yield f"file://{entry.path}", entry.stat().st_size


def _list_s3(prefix: str) -> Iterator[tuple[str, int]]:
    bucket, key_prefix = _split_s3(prefix)
    pages = _s3().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=key_prefix)
    with _s3_errors(prefix):
        for page in pages:
            for entry in page.get("Contents", ()):
                if not entry["Key"].endswith("/"):  # zero-byte "folders" of the S3 console (IN-11)
                    yield f"s3://{bucket}/{entry['Key']}", int(entry["Size"])


def fetch(uri: str, target: Path) -> None:
    """Write an object's bytes to `target`: a private copy, shared block by block where the file system can.

    Raises: UserError if the object does not exist or the target's disk is full.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        if uri.startswith("file://"):
            copy_file(to_path(uri), target)
        else:
            bucket, key = _split_s3(uri)
            with _s3_errors(uri):
                _s3().download_file(bucket, key, str(target))
    except OSError as error:
        message = f"{uri} cannot be brought to {target}: {error}"
        raise UserError(message) from error


def read(uri: str) -> bytes:
    """Give an object's bytes."""
    try:
        if uri.startswith("file://"):
            return to_path(uri).read_bytes()
        bucket, key = _split_s3(uri)
        with _s3_errors(uri):
            return bytes(_s3().get_object(Bucket=bucket, Key=key)["Body"].read())
    except OSError as error:
        message = f"{uri} cannot be read: {error}"
        raise UserError(message) from error


def store(source: Path, uri: str) -> None:
    """Write the file `source` to `uri`; a reader sees the old object or the whole new one."""
    try:
        if uri.startswith("file://"):
            target = to_path(uri)
            target.parent.mkdir(parents=True, exist_ok=True)
            partial = target.with_name(f".{target.name}.partial")
            copy_file(source, partial)
            partial.replace(target)
        else:
            bucket, key = _split_s3(uri)
            with _s3_errors(uri):
                _s3().upload_file(str(source), bucket, key)
    except OSError as error:
        message = f"{source} cannot be stored at {uri}: {error}"
        raise UserError(message) from error


def store_bytes(body: bytes, uri: str) -> None:
    """Write `body` to `uri`; a reader sees the old object or the whole new one."""
    with tempfile.TemporaryDirectory(prefix="local-test-") as scratch:
        path = Path(scratch) / "object"
        path.write_bytes(body)
        store(path, uri)


def delete(uri: str) -> None:
    """Delete an object; it may be gone already."""
    if uri.startswith("file://"):
        to_path(uri).unlink(missing_ok=True)
    else:
        bucket, key = _split_s3(uri)
        with _s3_errors(uri):
            _s3().delete_object(Bucket=bucket, Key=key)


def copy_file(source: Path, target: Path) -> None:
    """Copy bytes, never a link: a container may write into its copy (IN-2). Free of cost where blocks can be shared."""
    with source.open("rb") as reader, target.open("wb") as writer:
        try:
            fcntl.ioctl(writer, _FICLONE, reader.fileno())
        except OSError:
            shutil.copyfileobj(reader, writer, 1024 * 1024)
    shutil.copymode(source, target)


def _split_s3(uri: str) -> tuple[str, str]:
    parts = urllib.parse.urlsplit(uri)
    if parts.scheme != "s3":
        message = f"{uri!r} is no URI that the harness can read; file:///path and s3://bucket/key are possible"
        raise UserError(message)
    return parts.netloc, uri.removeprefix(f"s3://{parts.netloc}").removeprefix("/")


@functools.cache
def _s3() -> Any:
    import boto3  # noqa: PLC0415 - a fifth of a second that file:// users do not pay

    return boto3.client("s3")


class _s3_errors:  # noqa: N801 - reads as a statement: with _s3_errors(uri)
    """Turn boto3's errors into ours."""

    def __init__(self, uri: str) -> None:
        self.uri = uri

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: object
    ) -> None:
        import botocore.exceptions as boto  # noqa: PLC0415

        if isinstance(error, (boto.ClientError, boto.BotoCoreError)):
            message = f"{self.uri}: {error} (credentials and AWS_ENDPOINT_URL_S3 are read from the environment)"
            raise UserError(message) from error
