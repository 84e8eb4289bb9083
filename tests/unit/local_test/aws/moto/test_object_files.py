"""S3 on disk, and the private parts of moto that it needs."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest
from moto.s3 import models

from local_test.aws.account.kinds import BUCKET, OBJECT
from local_test.aws.account.store import Store
from local_test.aws.moto.byte_files import StoredBytes
from local_test.aws.moto.object_files import ObjectFiles
from local_test.data.disk import DiskError
from tests.support import file_size_limit

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
            version = environ["QUERY_STRING"].partition("=")[2] or None
            backend.delete_object(bucket, key, version_id=version)
        start_response("200 OK", [])
        return [b""]

    return ObjectFiles(application, store, tmp_path / "objects", ACCOUNT, "us-east-1"), store


def ask(files: ObjectFiles, method: str, path: str, body: bytes = b"", query: str = "") -> None:
    environ = {"REQUEST_METHOD": method, "PATH_INFO": path, "QUERY_STRING": query, "body": body}
    files(environ, lambda *_: None)


def test_objects_come_back_after_a_restart(tmp_path: Path, backend: Any) -> None:
    files, store = serve(tmp_path)
    files.make_bucket("returns")
    ask(files, "PUT", "/returns/kept", b"first")
    ask(files, "PUT", "/returns/kept", b"second")
    ask(files, "PUT", "/returns/gone", b"x")
    ask(files, "DELETE", "/returns/gone")
    assert len(list((tmp_path / "objects").iterdir())) == 1
    (tmp_path / "objects/left-by-a-crash.partial").touch()
    (tmp_path / "objects/unknown").write_bytes(b"who knows")
    store.close()
    backend.reset()
    assert not backend.buckets

    _, store = serve(tmp_path)
    assert [record["name"] for record in store.list(BUCKET)] == ["returns"]
    assert [record["key"] for record in store.list(OBJECT)] == ["kept"]
    assert backend.get_object("returns", "kept").value == b"second"
    assert backend.get_object("returns", "gone") is None
    assert len(list((tmp_path / "objects").iterdir())) == 1
    assert (tmp_path / "unknown-objects/unknown").read_bytes() == b"who knows"
    assert "1 file(s) of S3 objects that no record names were moved to" in store.warnings[0]
    store.close()


def test_an_object_without_its_file_returns_with_it(tmp_path: Path, backend: Any) -> None:
    files, store = serve(tmp_path)
    files.make_bucket("loses")
    ask(files, "PUT", "/loses/lost", b"x")
    store.close()
    backend.reset()
    away = (tmp_path / "objects").rename(tmp_path / "away")
    _, store = serve(tmp_path)
    assert "gone, so these do not exist: s3://loses/lost" in store.warnings[0]
    assert backend.get_object("loses", "lost") is None
    store.close()
    backend.reset()
    (tmp_path / "objects").rmdir()
    away.rename(tmp_path / "objects")
    _, store = serve(tmp_path)
    assert store.warnings == []
    assert backend.get_object("loses", "lost").value == b"x"
    store.close()


def test_what_cannot_be_written_is_undone(tmp_path: Path, backend: Any) -> None:
    files, store = serve(tmp_path)
    files.make_bucket("full")
    ask(files, "PUT", "/full/old", b"acknowledged")
    with file_size_limit(100_000):
        for name in ("old", "new"):
            with pytest.raises(DiskError):
                ask(files, "PUT", f"/full/{name}", bytes(200_000))
    assert backend.get_object("full", "old").value == b"acknowledged"
    assert backend.get_object("full", "new") is None
    assert [record["key"] for record in store.list(OBJECT)] == ["old"]
    assert len(list((tmp_path / "objects").iterdir())) == 1
    store.close()


def test_a_deletion_needs_no_room(tmp_path: Path, backend: Any) -> None:
    files, store = serve(tmp_path)
    files.make_bucket("full")
    ask(files, "PUT", "/full/old", b"x")
    with file_size_limit(1000):
        ask(files, "DELETE", "/full/old")
        assert backend.get_object("full", "old") is None
        assert not list((tmp_path / "objects").iterdir())
    store.close()
    backend.reset()
    _, store = serve(tmp_path)
    assert (store.list(OBJECT), store.warnings) == ([], [])
    store.close()


def test_old_versions_live_as_long_as_the_process(tmp_path: Path, backend: Any) -> None:
    files, store = serve(tmp_path)
    files.make_bucket("many")
    backend.put_bucket_versioning("many", "Enabled")
    ask(files, "PUT", "/many/k", b"first")
    first = backend.get_object("many", "k")
    ask(files, "PUT", "/many/k", b"second")
    second = backend.get_object("many", "k").version_id
    assert backend.get_object("many", "k", version_id=first.version_id).value == b"first"
    ask(files, "DELETE", "/many/k", query=f"versionId={second}")
    assert backend.get_object("many", "k").value == b"first"
    store.close()
    backend.reset()
    _, store = serve(tmp_path)
    assert backend.get_object("many", "k").value == b"first"
    assert store.warnings == []
    store.close()


def test_objects_of_a_bucket_whose_record_is_lost_are_kept(tmp_path: Path, backend: Any) -> None:
    files, store = serve(tmp_path)
    files.make_bucket("lost")
    ask(files, "PUT", "/lost/k", b"x")
    store.delete(BUCKET, "lost")
    store.close()
    backend.reset()
    _, store = serve(tmp_path)
    assert backend.get_object("lost", "k").value == b"x"
    assert store.warnings == ["bucket lost had no record; its objects are kept"]
    store.close()


@pytest.mark.parametrize("end", [".partial", ".version"])
def test_a_kill_between_file_and_record_leaves_what_the_record_says(
    tmp_path: Path, backend: Any, end: str
) -> None:
    files, store = serve(tmp_path)
    files.make_bucket("killed")
    ask(files, "PUT", "/killed/k", b"acknowledged")
    store.close()
    backend.reset()
    [path] = (tmp_path / "objects").iterdir()
    path.rename(path.with_name(path.name + end))  # the record was there first, or still is
    path.with_name("0123" + end).write_bytes(b"never had a record, or has none any more")
    _, store = serve(tmp_path)
    assert store.warnings == []
    assert backend.get_object("killed", "k").value == b"acknowledged"
    assert [item.name for item in (tmp_path / "objects").iterdir()] == [path.name]
    store.close()
