"""Objects at URIs: `file:///...` on this disk, `s3://...` by boto3 at any endpoint.

A URI is a *string* prefix, as in S3 (IN-9): `file:///data/train` also names `/data/train2/x`. End
it with a slash to name a directory. Objects are in the order of their keys. Keys and paths are not
percent-encoded. Nothing else in the harness reads or writes a URI.
"""

import contextlib
import fcntl
import functools
import os
import shutil
import tempfile
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, NoReturn

from container.errors import UserError, describe_absence
from local_test.data.atomic_file import replacing
from local_test.data.local_objects import list_files, name_below

_FICLONE: Final = 0x40049409


@dataclass(frozen=True)
class StoredObject:
    """One object; `name` is its path below the prefix that listed it."""

    uri: str
    name: str
    size_bytes: int


def to_uri(path: Path | str, *, is_directory: bool = False) -> str:
    """Return the URI of a path on this disk; text that is a URI already stays as it is."""
    if isinstance(path, str) and "://" in path:
        return path
    absolute = str(Path(path).expanduser().absolute())
    if is_directory:
        absolute = absolute.rstrip("/") + "/"
    return f"file://{absolute}"


def to_path(uri: str) -> Path:
    """Return the path of a `file://` URI."""
    return Path(uri.removeprefix("file://"))


def list_objects(uri: str, *, may_be_empty: bool = False) -> list[StoredObject]:
    """Return all objects whose key starts with `uri`, sorted by key.

    Raises: UserError if the bucket or directory cannot be read, or if there are no such objects,
    unless `may_be_empty`.
    """
    if not uri.startswith("file://"):
        listed = _list_s3(uri)
    elif may_be_empty and not to_path(uri.rpartition("/")[0]).is_dir():
        return []
    else:
        listed = list_files(uri)
    found = [StoredObject(key, name_below(uri, key), size) for key, size in sorted(listed)]
    if not found and not may_be_empty:
        message = f"no object has the prefix {uri}"
        if uri.startswith("file://") and not to_path(uri).exists():
            message = describe_absence(to_path(uri))
        raise UserError(message)
    return found


def _list_s3(prefix: str) -> Iterator[tuple[str, int]]:
    bucket, key_prefix = _split_s3(prefix)
    pages = _s3().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=key_prefix)
    with _translating_errors(prefix):
        for page in pages:
            for entry in page.get("Contents", ()):
                if not entry["Key"].endswith("/"):  # zero-byte "folders" of the S3 console (IN-11)
                    yield f"s3://{bucket}/{entry['Key']}", int(entry["Size"])


def deliver(item: StoredObject, directory: Path) -> None:
    """Copy an object into a directory, under its name.

    Raises: UserError if its name leads out of the directory, or it cannot be copied.
    """
    fetch(item.uri, find_place(item, directory))


def find_place(item: StoredObject, directory: Path) -> Path:
    """Return the path at which an object belongs in a directory.

    Raises: UserError if it is not inside.
    """
    name = os.path.normpath(item.name)
    if name.startswith(("/", "../")) or name in (".", "..") or "\0" in name:
        raise UserError(f"{item.uri} would be outside of {directory}, at {item.name!r}")
    return directory / name


def refuse_clash(item: StoredObject, target: Path) -> NoReturn:
    """Refuse an object whose place another one of the same set has. Raises: UserError."""
    raise UserError(
        f"cannot copy {item.uri} to {target}: another object is there already; their names "
        "differ only in slashes, or in case or accents, which this file system ignores; "
        "rename one of the two"
    )


def check_reference(source: str, uri: str) -> None:
    """Refuse a URI that a document names if the document's author need not be this user.

    A document in S3 may name only what is in S3: behind the API of the local AWS, it comes from
    someone who need not have access to this disk.

    Raises: UserError.
    """
    if source.startswith("s3://") and not uri.startswith("s3://"):
        raise UserError(f"{source} names {uri!r}; what is in S3 can name only s3:// URIs")


def _check_presence(uri: str) -> None:
    if uri.startswith("file://") and not to_path(uri).exists():
        raise UserError(describe_absence(to_path(uri)))


def fetch(uri: str, target: Path) -> None:
    """Copy an object to `target`.

    Raises: UserError if the object does not exist or the disk is full.
    """
    _check_presence(uri)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if uri.startswith("file://"):
            with to_path(uri).open("rb") as file:
                _copy(file, target)
        else:
            bucket, key = _split_s3(uri)
            with _translating_errors(uri):
                _s3().download_file(bucket, key, str(target))
    except OSError as error:
        raise UserError(f"cannot copy {uri} to {target}: {error}") from error


def read(uri: str) -> bytes:
    """Return an object's bytes. Raises: UserError if it cannot be read."""
    return read_typed(uri)[0]


def read_typed(uri: str) -> tuple[bytes, str]:
    """Return an object's bytes and content type, which is empty for a file.

    Raises: UserError if it cannot be read.
    """
    _check_presence(uri)
    try:
        if uri.startswith("file://"):
            return to_path(uri).read_bytes(), ""
        bucket, key = _split_s3(uri)
        with _translating_errors(uri):
            answer = _s3().get_object(Bucket=bucket, Key=key)
            return bytes(answer["Body"].read()), str(answer.get("ContentType", ""))
    except OSError as error:
        raise UserError(f"cannot read {uri}: {error}") from error


def store(source: Path, uri: str) -> None:
    """Copy a file to `uri`, where a reader sees the old object or the complete new one.

    Raises: UserError if it cannot be stored.
    """
    try:
        with source.open("rb") as file:
            store_file(file, uri)
    except OSError as error:
        raise UserError(f"cannot store {source} at {uri}: {error}") from error


def store_file(file: BinaryIO, uri: str) -> None:
    """Copy an open file to `uri`; see `store`."""
    try:
        if uri.startswith("file://"):
            target = to_path(uri)
            target.parent.mkdir(parents=True, exist_ok=True)
            with replacing(target) as partial:
                _copy(file, partial)
        else:
            bucket, key = _split_s3(uri)
            with _translating_errors(uri):
                _s3().upload_fileobj(file, bucket, key)
    except OSError as error:
        raise UserError(f"cannot store an object at {uri}: {error}") from error


def store_bytes(body: bytes, uri: str) -> None:
    """Write bytes to `uri`; see `store`."""
    with tempfile.TemporaryDirectory(prefix="local-test-") as scratch:
        path = Path(scratch) / "object"
        path.write_bytes(body)
        store(path, uri)


def delete(uri: str) -> None:
    """Delete an object if it exists."""
    if uri.startswith("file://"):
        to_path(uri).unlink(missing_ok=True)
    else:
        bucket, key = _split_s3(uri)
        with _translating_errors(uri):
            _s3().delete_object(Bucket=bucket, Key=key)


def _copy(reader: BinaryIO, target: Path) -> None:
    """Copy a file, which may be changed then (IN-2), sharing blocks where the file system can."""
    with target.open("wb") as writer:
        try:
            fcntl.ioctl(writer, _FICLONE, reader.fileno())
        except OSError:
            shutil.copyfileobj(reader, writer, 1024 * 1024)
        # Without setuid and the like: a container may have set them as root.
        os.fchmod(writer.fileno(), os.fstat(reader.fileno()).st_mode & 0o777)


def _split_s3(uri: str) -> tuple[str, str]:
    parts = urllib.parse.urlsplit(uri)
    if parts.scheme != "s3":
        raise UserError(f"cannot read the URI {uri!r}; use file:///path or s3://bucket/key")
    return parts.netloc, uri.removeprefix(f"s3://{parts.netloc}").removeprefix("/")


_MISSING: Final = ("404", "NoSuchKey")  # S3's codes; HEAD answers have no others


@functools.cache
def _s3() -> Any:
    import boto3  # noqa: PLC0415 - takes 0.2 s, which file:// does not need

    return boto3.client("s3")


@contextlib.contextmanager
def _translating_errors(uri: str) -> Iterator[None]:
    """Raise boto3's errors as UserError."""
    import botocore.exceptions  # noqa: PLC0415 - as above

    try:
        yield
    except (botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError) as error:
        code = getattr(error, "response", {}).get("Error", {}).get("Code", "")
        if code == "NoSuchBucket":
            raise UserError(f"s3://{_split_s3(uri)[0]} does not exist") from error
        if code in _MISSING:
            raise UserError(f"{uri} does not exist") from error
        message = f"{uri}: {error} (the environment sets the credentials and AWS_ENDPOINT_URL_S3)"
        raise UserError(message) from error
