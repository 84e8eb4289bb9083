"""S3 that survives: moto answers the requests, the objects lie in files of ours.

After each request that changed something, what it changed is written to disk before the answer
leaves: the object's bytes as a file, its facts as a record. At the next start moto is given the
records back; bytes are read when asked for.

Rules of this file: a file is complete before a record names it, and is removed after no record
does. Kept are buckets and the latest version of objects with their metadata; policies, versions and
tags of S3 live as long as the process.
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
from typing import IO, Any, Final
from urllib.parse import parse_qs
from xml.etree import ElementTree as ET

from moto.s3.models import FakeBucket, FakeKey, S3Backend, s3_backends

from local_test.aws.account.state import Record, Store

_BUCKET: Final = "s3-bucket"
_OBJECT: Final = "s3-object"
WsgiApplication = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class StoredBytes:
    """The bytes of a stored object: a file that is open only while it is read, as there may be many objects."""

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
        """Nothing is open between reads."""


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
        listed = _read_deleted_keys(environ) if "delete" in query and not key else []
        answers: list[tuple[Any, ...]] = []

        def keep(*arguments: Any) -> Callable[[bytes], None]:
            answers.append(arguments)
            return lambda data: None  # noqa: ARG005 - moto's applications return their bodies

        body = self._application(environ, keep)
        if answers and str(answers[-1][0]).startswith("2") and "partNumber" not in query:
            with self._lock:
                if key:
                    self._keep_object(bucket, key)
                elif listed:
                    for name in listed:
                        self._keep_object(bucket, name)
                elif (
                    environ["REQUEST_METHOD"] == "POST"
                ):  # a form upload names its object in the form
                    self._keep_all(bucket)
                else:
                    self._keep_bucket(bucket)
        for arguments in answers:
            start_response(*arguments)
        return body

    def make_bucket(self, name: str) -> None:
        """Make a bucket unless it is there."""
        with self._lock:
            if name not in self._backend.buckets:
                self._backend.create_bucket(name, self._region)
            self._keep_bucket(name)

    def _keep_bucket(self, name: str) -> None:
        if name in self._backend.buckets:
            created = self._backend.buckets[name].creation_date.timestamp()
            self._store.insert(
                _BUCKET, name, {"name": name, "region": self._region, "created": created}
            )
        else:
            self._store.delete(_BUCKET, name)

    def _keep_all(self, bucket: str) -> None:
        known = {
            record["key"] for record in self._store.list(_OBJECT) if record["bucket"] == bucket
        }
        for name in known | set(self._backend.buckets[bucket].keys):
            self._keep_object(bucket, name)

    def _keep_object(self, bucket: str, name: str) -> None:
        key = (
            self._backend.buckets[bucket].keys.get(name)
            if bucket in self._backend.buckets
            else None
        )
        record_name = f"{bucket}/{name}"
        old = self._store.find(_OBJECT, record_name)
        if isinstance(key, FakeKey):
            if not isinstance(key._value_buffer, StoredBytes):  # noqa: SLF001 - moto keeps bytes there and offers no other way
                path = self._directory / uuid.uuid4().hex
                with path.open("wb") as file, key.lock:
                    _copy(key._value_buffer, file)  # noqa: SLF001
                record = {
                    "bucket": bucket,
                    "key": name,
                    "file": path.name,
                    "bytes": path.stat().st_size,
                    "etag": key.etag.strip('"'),
                    "modified": key.last_modified.timestamp(),
                    "metadata": dict(key.metadata),
                }
                if old is None:
                    self._store.insert(_OBJECT, record_name, record)
                else:
                    self._store.update(_OBJECT, record_name, **record)
                _point_to(key, path)
                if old is not None:
                    (self._directory / old["file"]).unlink(missing_ok=True)
        elif old is not None:
            self._store.delete(_OBJECT, record_name)
            (self._directory / old["file"]).unlink(missing_ok=True)

    def _restore(self) -> None:
        for record in self._store.list(_BUCKET):
            bucket = FakeBucket(record["name"], self._account, record["region"])
            bucket.creation_date = dt.datetime.fromtimestamp(record["created"], dt.UTC)
            self._backend.buckets[record["name"]] = bucket
        named = set()
        for record in self._store.list(_OBJECT):
            named.add(record["file"])
            self._restore_object(record)
        for path in self._directory.iterdir():  # what a crash left behind
            if path.name not in named:
                path.unlink()

    def _restore_object(self, record: Record) -> None:
        path = self._directory / record["file"]
        bucket = self._backend.buckets.get(record["bucket"])
        if bucket is None or not path.is_file():
            self._store.delete(_OBJECT, f"{record['bucket']}/{record['key']}")
            return
        key = FakeKey(
            record["key"], b"", self._account, self._region,
            etag=record["etag"], version_id="null", bucket_name=record["bucket"],
        )  # fmt: skip
        key.last_modified = dt.datetime.fromtimestamp(record["modified"], dt.UTC).replace(
            tzinfo=None
        )
        key.set_metadata(record["metadata"])
        key.contentsize = record["bytes"]
        _point_to(key, path)
        bucket.keys[record["key"]] = key


def _point_to(key: FakeKey, path: Path) -> None:
    with key.lock:
        old, key._value_buffer = key._value_buffer, StoredBytes(path)  # noqa: SLF001
        old.close()


def _copy(source: IO[bytes], target: IO[bytes]) -> None:
    source.seek(0)
    shutil.copyfileobj(source, target, 1024 * 1024)
    target.flush()
    os.fsync(target.fileno())


def _read_deleted_keys(environ: dict[str, Any]) -> list[str]:
    """Read the keys of a DeleteObjects request; moto judges the request itself."""
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    environ["wsgi.input"] = io.BytesIO(body)
    with contextlib.suppress(ET.ParseError):
        root = ET.fromstring(body)  # noqa: S314 - expat expands no external entities, and the client is local
        return [item.text or "" for item in root.iter() if item.tag.rpartition("}")[2] == "Key"]
    return []
