"""S3 that survives a restart: moto answers the requests, and the objects are in our files.

After each request that changed something, the change is written to disk before the answer leaves,
and before any other request sees it: the bytes of an object as a file, its facts as a record. What
cannot be written is undone in moto, and refused. The next start returns the records to moto; bytes
are read on demand. Kept are buckets, and the latest version of objects with their metadata;
`snapshots` keeps settings of buckets and tags.

moto has no hook for storage, so this uses its private `FakeKey._value_buffer`; a unit test fails
when moto changes it.

Rules of this file: a file is complete before a record names it. An object whose file is gone does
not exist, so a deletion holds even if a full disk has no room to delete the record.
"""

import contextlib
import datetime as dt
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from moto.s3.models import FakeBucket, FakeKey, S3Backend, s3_backends

from local_test.aws.account.kinds import BUCKET, OBJECT
from local_test.aws.account.records import StoredObject
from local_test.aws.account.store import Store
from local_test.aws.moto import s3_model
from local_test.aws.moto.byte_files import ByteFiles, StoredBytes
from local_test.aws.moto.held_parts import holding
from local_test.aws.moto.turns import Target, Turns, read_target
from local_test.aws.protocol.messages import AwsError
from local_test.data.disk import DiskError

WsgiApplication = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class ObjectFiles:
    """Keeps moto's S3 of one account on disk; a WSGI application around moto's."""

    def __init__(
        self, application: WsgiApplication, store: Store, directory: Path, account: str, region: str
    ) -> None:
        self._application = application
        self._store = store
        self._files = ByteFiles(directory)
        self._account = account
        self._region = region
        self._backend: S3Backend = s3_backends[account]["aws"]
        self._turns = Turns()
        store.warnings += self._restore()

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        """Answer one S3 request.

        Raises: DiskError if a change could not be written, and was undone.
        """
        target = read_target(environ)
        s3_model.check(target, environ)
        with self._turns.take(target.claims()):
            self._check_upload(target)
            if target.is_read:
                return self._application(environ, start_response)
            answers: list[tuple[Any, ...]] = []

            def collect(*arguments: Any) -> Callable[[bytes], None]:
                answers.append(arguments)
                return lambda data: None  # noqa: ARG005 - moto's applications return their bodies

            with self._undoing(target):
                body = self._application(environ, collect)
                if answers and str(answers[-1][0]).startswith("2") and not target.is_part:
                    self._keep(target)
        for arguments in answers:
            start_response(*arguments)
        return body

    def _check_upload(self, target: Target) -> None:
        """Refuse a request about an upload that does not exist. Raises: AwsError NoSuchUpload."""
        upload = target.query.get("uploadId", [""])[0]
        bucket = self._backend.buckets.get(target.bucket)
        if bucket is None or not upload or upload in bucket.multiparts:
            return
        key = bucket.keys.get(target.key)
        done = getattr(key, "multipart", None)
        if target.method != "POST" or done is None or done.id != upload:
            message = "The specified upload does not exist; it may have been completed or aborted"
            raise AwsError("NoSuchUpload", message, 404)

    def make_bucket(self, name: str) -> None:
        """Create a bucket, unless it exists; on a full disk it lives as long as the process."""
        with self._turns.take(Target("PUT", name, "", {}).claims()):
            if name not in self._backend.buckets:
                self._backend.create_bucket(name, self._region)
            with contextlib.suppress(DiskError):
                self._keep_bucket(name)

    def _keep(self, target: Target) -> None:
        """Write down what a request may have changed. Raises: DiskError."""
        for name in target.keys:
            self._keep_object(target.bucket, name)
        if not target.keys and target.method != "POST":
            self._keep_bucket(target.bucket)

    @contextlib.contextmanager
    def _undoing(self, target: Target) -> Iterator[None]:
        """Return moto to the state before a request if its change cannot be written."""
        bucket = self._backend.buckets.get(target.bucket)
        before = {name: list(bucket.keys.getlist(name, [])) for name in target.keys if bucket}
        try:
            with holding(bucket, target.completed_upload):
                yield
        except Exception:
            if bucket is None:
                self._backend.buckets.pop(target.bucket, None)
                raise
            self._backend.buckets[target.bucket] = bucket
            for name, keys in before.items():
                self._undo_key(bucket, target.bucket, name, keys)
            raise

    def _undo_key(self, bucket: FakeBucket, place: str, name: str, keys: list[Any]) -> None:
        record = self._store.find(OBJECT, f"{place}/{name}")
        if record is None and keys and isinstance(keys[-1], FakeKey):
            return  # of several deletions, this one was made before another failed
        for key in bucket.keys.getlist(name, []):
            if key not in keys:
                key.multipart = None  # the upload goes on
        if keys:
            bucket.keys.setlist(name, keys)
        elif name in bucket.keys:
            bucket.keys.pop(name)

    def _keep_bucket(self, name: str) -> None:
        if name not in self._backend.buckets:
            self._store.delete(BUCKET, name)
            return
        created = self._backend.buckets[name].creation_date.timestamp()
        record = {"name": name, "region": self._region, "created": created}
        self._store.insert(BUCKET, name, record)

    def _keep_object(self, bucket: str, name: str) -> None:
        """Write an object to disk, or remove it if moto no longer has it.

        Raises: DiskError; then files and records are as before.
        """
        versions = self._list_versions(bucket, name)
        key = versions[-1] if versions else None
        is_object = isinstance(key, FakeKey)
        record_name = f"{bucket}/{name}"
        old = self._store.find(OBJECT, record_name)
        if old is None:
            if is_object:
                self._keep_bytes(key, record_name)
            return
        if is_object and _names(key, old["file"]):
            return
        aside = self._files.set_aside(old["file"])
        try:
            if is_object:
                self._keep_bytes(key, record_name)
            else:
                self._store.forget(OBJECT, record_name)
        except BaseException:
            self._files.settle(old["file"])
            raise
        for version in versions:
            if isinstance(version, FakeKey) and _names(version, old["file"]):
                _point_to(version, aside)
                return
        self._files.remove(old["file"])

    def _list_versions(self, bucket: str, name: str) -> list[Any]:
        """Return moto's versions of an object, the current one last."""
        if bucket not in self._backend.buckets:
            return []
        return list(self._backend.buckets[bucket].keys.getlist(name, []))

    def _keep_bytes(self, key: FakeKey, record_name: str) -> None:
        """Write the file and the record of an object that is new.

        Raises: DiskError, with the new file removed.
        """
        stored = key._value_buffer  # noqa: SLF001 - see the head of this file
        with key.lock:
            is_older = isinstance(stored, StoredBytes)  # a version that is the current one again
            name = stored.path.stem if is_older else self._files.write(stored)
        record = _describe(key, record_name, name)
        try:
            self._keep_bucket(record["bucket"])
            if not self._store.insert(OBJECT, record_name, record):
                self._store.update(OBJECT, record_name, **record)
        except BaseException:
            if not is_older:
                self._files.remove(name)
            raise
        path = self._files.settle(name)
        assert path is not None  # noqa: S101 - it was written above
        _point_to(key, path)

    def _restore(self) -> list[str]:
        """Give moto what is on disk, and return what was wrong there."""
        for record in self._store.list(BUCKET):
            self._restore_bucket(record["name"], record["created"])
        objects = self._store.list(OBJECT)
        missing = []
        warnings = []
        for item in objects:
            if item["bucket"] not in self._backend.buckets:
                self._restore_bucket(item["bucket"], time.time())
                warnings.append(f"bucket {item['bucket']} had no record; its objects are kept")
            path = self._files.settle(item["file"])
            if path is None:
                missing.append(f"s3://{item['bucket']}/{item['key']}")
            else:
                self._restore_object(item, path)
        if missing:
            warnings.append(
                f"the files of {len(missing)} S3 object(s) are gone, so these do not exist: "
                f"{', '.join(missing[:5])}"
            )
        return warnings + self._files.sweep({item["file"] for item in objects})

    def _restore_bucket(self, name: str, created: float) -> None:
        bucket = FakeBucket(name, self._account, self._region)
        bucket.creation_date = dt.datetime.fromtimestamp(created, dt.UTC)
        self._backend.buckets[name] = bucket

    def _restore_object(self, record: StoredObject, path: Path) -> None:
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
        self._backend.buckets[record["bucket"]].keys[record["key"]] = key


def _names(key: FakeKey, file: str) -> bool:
    """Return whether an object's bytes are in a file, whatever its name is at the moment."""
    stored = key._value_buffer  # noqa: SLF001 - see the head of this file
    return isinstance(stored, StoredBytes) and stored.path.stem == file


def _describe(key: FakeKey, record_name: str, file: str) -> StoredObject:
    bucket, _, name = record_name.partition("/")
    return {
        "bucket": bucket,
        "key": name,
        "file": file,
        "bytes": key.contentsize,
        "etag": key.etag.strip('"'),
        "modified": key.last_modified.timestamp(),
        "metadata": dict(key.metadata),
    }


def _point_to(key: FakeKey, path: Path) -> None:
    """Let moto read an object's bytes from our file."""
    with key.lock:
        old = key._value_buffer  # noqa: SLF001 - see the head of this file
        key._value_buffer = StoredBytes(path)  # noqa: SLF001 - see the head of this file
        old.close()
