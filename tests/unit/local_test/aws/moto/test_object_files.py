"""S3 on disk, and the private parts of moto that it needs."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest
from moto.s3 import models

from local_test.aws.account.kinds import BUCKET, OBJECT
from local_test.aws.account.store import Store
from local_test.aws.moto.object_files import ObjectFiles, StoredBytes

CHANGED = (
    "moto has changed its private S3 storage: adapt local_test/aws/moto/object_files.py, which "
    "reads and replaces the buffer of an object's bytes"
)
ACCOUNT = "000000000001"


def test_moto_keeps_an_objects_bytes_where_we_look_for_them() -> None:
    key = models.FakeKey("k", b"value", ACCOUNT, "us-east-1", version_id="null", bucket_name="b")
    assert hasattr(key, "_value_buffer"), CHANGED
    key._value_buffer.seek(0)  # noqa: SLF001 - what this test is about
    assert key._value_buffer.read() == b"value", CHANGED  # noqa: SLF001 - as above
    assert hasattr(key.lock, "acquire"), CHANGED
    assert {"etag", "contentsize", "metadata", "last_modified"} <= set(dir(key)), CHANGED
    key.dispose()


def test_moto_reads_an_objects_bytes_from_our_file(tmp_path: Path) -> None:
    path = tmp_path / "bytes"
    path.write_bytes(b"from the file")
    key = models.FakeKey("k", b"", ACCOUNT, "us-east-1", version_id="null", bucket_name="b")
    old, key._value_buffer = key._value_buffer, StoredBytes(path)  # noqa: SLF001 - as above
    old.close()
    assert key.value == b"from the file", CHANGED
    key.dispose()


def test_moto_keeps_buckets_where_we_put_them() -> None:
    assert hasattr(models.s3_backends[ACCOUNT]["aws"], "buckets"), CHANGED
    parameters = list(inspect.signature(models.FakeBucket).parameters)
    assert parameters[:3] == ["name", "account_id", "region_name"], CHANGED
    bucket = models.FakeBucket("looked-at", ACCOUNT, "us-east-1")
    assert hasattr(bucket, "creation_date"), CHANGED
    bucket.keys["k"] = "entry"
    assert bucket.keys.get("k") == "entry", CHANGED


@pytest.fixture
def backend() -> Any:
    found = models.s3_backends[ACCOUNT]["aws"]
    yield found
    found.reset()


def serve(tmp_path: Path) -> tuple[ObjectFiles, Store]:
    store = Store(tmp_path / "state.sqlite")

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        """Store the object or delete it, as moto would."""
        _, bucket, key = environ["PATH_INFO"].split("/")
        backend = models.s3_backends[ACCOUNT]["aws"]
        if environ["REQUEST_METHOD"] == "PUT":
            backend.put_object(bucket, key, environ["body"])
        else:
            backend.delete_object(bucket, key)
        start_response("200 OK", [])
        return [b""]

    return ObjectFiles(application, store, tmp_path / "objects", ACCOUNT, "us-east-1"), store


def ask(files: ObjectFiles, method: str, path: str, body: bytes = b"") -> None:
    environ = {"REQUEST_METHOD": method, "PATH_INFO": path, "QUERY_STRING": "", "body": body}
    files(environ, lambda *_: None)


def test_objects_come_back_after_a_restart(tmp_path: Path, backend: Any) -> None:
    files, store = serve(tmp_path)
    files.make_bucket("returns")
    ask(files, "PUT", "/returns/kept", b"first")
    ask(files, "PUT", "/returns/kept", b"second")
    ask(files, "PUT", "/returns/gone", b"x")
    ask(files, "DELETE", "/returns/gone")
    assert len(list((tmp_path / "objects").iterdir())) == 1
    (tmp_path / "objects/left-by-a-crash").touch()
    store.close()
    backend.reset()
    assert not backend.buckets

    _, store = serve(tmp_path)
    assert [record["name"] for record in store.list(BUCKET)] == ["returns"]
    assert [record["key"] for record in store.list(OBJECT)] == ["kept"]
    assert backend.get_object("returns", "kept").value == b"second"
    assert backend.get_object("returns", "gone") is None
    assert not (tmp_path / "objects/left-by-a-crash").exists()
    store.close()


def test_an_object_without_its_file_is_forgotten(tmp_path: Path, backend: Any) -> None:
    files, store = serve(tmp_path)
    files.make_bucket("loses")
    ask(files, "PUT", "/loses/lost", b"x")
    for path in (tmp_path / "objects").iterdir():
        path.unlink()
    store.close()
    backend.reset()
    _, store = serve(tmp_path)
    assert store.list(OBJECT) == []
    assert backend.get_object("loses", "lost") is None
    store.close()
