"""S3 that survives a restart: moto answers the requests, and the objects are in our files.

After each request that changed something, the change is written to disk before the answer leaves:
the bytes of an object as a file, its facts as a record. The next start returns the records to
moto; bytes are read on demand. Kept are buckets, and the latest version of objects with their
metadata. Policies, versions and tags of S3 live as long as the process.

moto has no hook for storage, so this uses its private `FakeKey._value_buffer`; a unit test fails
when moto changes it.

Rules of this file: a file is complete before a record names it, and removed after no record does.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import io
import os
import shutil
import threading
import uuid
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO, Any
from urllib.parse import parse_qs
from xml.etree import ElementTree as ET

from moto.s3.models import FakeBucket, FakeKey, S3Backend, s3_backends

from local_test.aws.account.kinds import BUCKET, OBJECT
from local_test.aws.account.records import StoredObject
from local_test.aws.account.store import Store

WsgiApplication = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class StoredBytes:
    """The bytes of a stored object, as moto reads them.

    The file is open only during a read, as there may be many objects.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._position = 0

    def seek(self, position: int) -> None:
        """Go to a byte."""
        self._position = position

    def read(self, size: int = -1) -> bytes:
        """Read from the position on."""
        with self.path.open("rb") as file:
            file.seek(self._position)
            data = file.read(size)
        self._position += len(data)
        return data

    def close(self) -> None:
        """Do nothing: no file is open between reads."""


class ObjectFiles:
    """Keeps moto's S3 of one account on disk; a WSGI application around moto's."""

    def __init__(
        self, application: WsgiApplication, store: Store, directory: Path, account: str, region: str
    ) -> None:
        self._application = application
        self._store = store
        self._directory = directory
        self._account = account
        self._region = region
        self._backend: S3Backend = s3_backends[account]["aws"]
        self._lock = threading.Lock()
        directory.mkdir(parents=True, exist_ok=True)
        self._restore()

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        """Answer one S3 request."""
        if environ["REQUEST_METHOD"] in ("GET", "HEAD", "OPTIONS"):
            return self._application(environ, start_response)
        path = environ["PATH_INFO"].encode("latin-1").decode("utf-8", "replace").lstrip("/")
        bucket, _, key = path.partition("/")
        query = parse_qs(environ.get("QUERY_STRING", ""), keep_blank_values=True)
        deleted = _read_deleted_keys(environ) if "delete" in query and not key else []
        answers: list[tuple[Any, ...]] = []

        def collect(*arguments: Any) -> Callable[[bytes], None]:
            answers.append(arguments)
            return lambda data: None  # noqa: ARG005 - moto's applications return their bodies

        body = self._application(environ, collect)
        is_done = answers and str(answers[-1][0]).startswith("2")
        if is_done and "partNumber" not in query:  # a part is not an object yet
            with self._lock:
                self._keep(environ["REQUEST_METHOD"], bucket, [key] if key else deleted)
        for arguments in answers:
            start_response(*arguments)
        return body

    def _keep(self, method: str, bucket: str, keys: list[str]) -> None:
        """Write down what a request may have changed."""
        for name in keys:
            self._keep_object(bucket, name)
        if not keys and method != "POST":
            self._keep_bucket(bucket)

    def make_bucket(self, name: str) -> None:
        """Create a bucket, unless it exists."""
        with self._lock:
            if name not in self._backend.buckets:
                self._backend.create_bucket(name, self._region)
            self._keep_bucket(name)

    def _keep_bucket(self, name: str) -> None:
        if name not in self._backend.buckets:
            self._store.delete(BUCKET, name)
            return
        created = self._backend.buckets[name].creation_date.timestamp()
        record = {"name": name, "region": self._region, "created": created}
        self._store.insert(BUCKET, name, record)

    def _keep_object(self, bucket: str, name: str) -> None:
        """Write an object to disk, or remove it if moto no longer has it."""
        key = None
        if bucket in self._backend.buckets:
            key = self._backend.buckets[bucket].keys.get(name)
        record_name = f"{bucket}/{name}"
        old = self._store.find(OBJECT, record_name)
        if isinstance(key, FakeKey):
            if isinstance(key._value_buffer, StoredBytes):  # noqa: SLF001 - see the docstring
                return
            record = self._write(bucket, name, key)
            if not self._store.insert(OBJECT, record_name, record):
                self._store.update(OBJECT, record_name, **record)
            _point_to(key, self._directory / record["file"])
        elif old is not None:
            self._store.delete(OBJECT, record_name)
        if old is not None:
            (self._directory / old["file"]).unlink(missing_ok=True)

    def _write(self, bucket: str, name: str, key: FakeKey) -> StoredObject:
        path = self._directory / uuid.uuid4().hex
        with path.open("wb") as file, key.lock:
            _copy(key._value_buffer, file)  # noqa: SLF001 - see the head of this file
        return {
            "bucket": bucket,
            "key": name,
            "file": path.name,
            "bytes": path.stat().st_size,
            "etag": key.etag.strip('"'),
            "modified": key.last_modified.timestamp(),
            "metadata": dict(key.metadata),
        }

    def _restore(self) -> None:
        for record in self._store.list(BUCKET):
            bucket = FakeBucket(record["name"], self._account, record["region"])
            bucket.creation_date = dt.datetime.fromtimestamp(record["created"], dt.UTC)
            self._backend.buckets[record["name"]] = bucket
        objects = self._store.list(OBJECT)
        for item in objects:
            self._restore_object(item)
        named = {item["file"] for item in objects}
        for path in self._directory.iterdir():
            if path.name not in named:  # a crash left it behind
                path.unlink()

    def _restore_object(self, record: StoredObject) -> None:
        path = self._directory / record["file"]
        bucket = self._backend.buckets.get(record["bucket"])
        if bucket is None or not path.is_file():
            self._store.delete(OBJECT, f"{record['bucket']}/{record['key']}")
            return
        key = FakeKey(
            record["key"],
            b"",
            self._account,
            self._region,
            etag=record["etag"],
            version_id="null",
            bucket_name=record["bucket"],
        )
        modified = dt.datetime.fromtimestamp(record["modified"], dt.UTC)
        key.last_modified = modified.replace(tzinfo=None)
        key.set_metadata(record["metadata"])
        key.contentsize = record["bytes"]
        _point_to(key, path)
        bucket.keys[record["key"]] = key


def _point_to(key: FakeKey, path: Path) -> None:
    """Let moto read an object's bytes from our file."""
    with key.lock:
        old = key._value_buffer  # noqa: SLF001 - see the head of this file
        key._value_buffer = StoredBytes(path)  # noqa: SLF001 - see the head of this file
        old.close()


def _copy(source: IO[bytes], target: IO[bytes]) -> None:
    source.seek(0)
    shutil.copyfileobj(source, target, 1024 * 1024)
    target.flush()
    os.fsync(target.fileno())


def _read_deleted_keys(environ: dict[str, Any]) -> list[str]:
    """Return the keys of a DeleteObjects request; moto checks the request itself."""
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    environ["wsgi.input"] = io.BytesIO(body)
    with contextlib.suppress(ET.ParseError):
        root = ET.fromstring(body)  # noqa: S314 - no external entities, and the client is local
        return [item.text or "" for item in root.iter() if item.tag.rpartition("}")[2] == "Key"]
    return []
