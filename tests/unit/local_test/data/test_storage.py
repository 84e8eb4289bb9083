"""Objects at URIs, on this disk and in S3."""

from __future__ import annotations

from pathlib import Path

import boto3
import pytest
from moto import mock_aws

from container.errors import UserError
from local_test.data import storage


def test_a_stored_object_is_complete_and_a_prefix_lists_in_order(tmp_path: Path) -> None:
    storage.store_bytes(b"2", f"file://{tmp_path}/a b/2")
    storage.store_bytes(b"1", f"file://{tmp_path}/a b/1")
    storage.store_bytes(b"x", f"file://{tmp_path}/a b/sub/x")

    listed = storage.list_objects(f"file://{tmp_path}/a b/")
    assert [(item.name, item.size_bytes) for item in listed] == [("1", 1), ("2", 1), ("sub/x", 1)]
    assert storage.read(listed[1].uri) == b"2"
    storage.delete(listed[0].uri)
    assert len(storage.list_objects(f"file://{tmp_path}/a b/")) == 2
    with pytest.raises(UserError, match="does not exist"):
        storage.list_objects(f"file://{tmp_path}/a b/nothing")
    with pytest.raises(UserError, match="use file:///path or s3://bucket/key"):
        storage.read("gs://bucket/key")


def test_a_prefix_is_a_string_and_not_a_directory(tmp_path: Path) -> None:
    for name in ("train/1", "train2/1", "other/1"):
        storage.store_bytes(b"", f"file://{tmp_path}/{name}")

    listed = storage.list_objects(f"file://{tmp_path}/train")

    assert [item.name for item in listed] == ["1", "train2/1"]  # IN-9


def test_a_path_becomes_a_uri_and_a_uri_stays() -> None:
    assert storage.to_uri("/data/a b") == "file:///data/a b"
    assert storage.to_uri("/data", is_directory=True) == "file:///data/"
    assert storage.to_uri("/", is_directory=True) == "file:///"
    assert storage.to_uri("s3://bucket/key", is_directory=True) == "s3://bucket/key"


def test_the_longest_name_of_s3_can_be_copied(deep: Path) -> None:
    name = "/".join("d" * 512)
    (deep / "data").mkdir()
    for part in range(511):
        (deep / "data" / name[: 2 * part + 1]).mkdir()
    (deep / "data" / name).write_text("end")

    [item] = storage.list_objects(f"file://{deep}/data/")
    storage.deliver(item, deep / "copy")

    assert len(item.name) == 1023
    assert (deep / "copy" / item.name).read_text() == "end"


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/etc/x", "..", ".", "a/..", "nul\0"])
def test_an_object_is_delivered_into_its_directory_only(name: str, tmp_path: Path) -> None:
    item = storage.StoredObject(f"s3://bucket/prefix/{name}", name, 1)

    with pytest.raises(UserError, match="would be outside"):
        storage.deliver(item, tmp_path / "channel")


def test_a_stored_object_keeps_its_rights_but_is_not_run_as_its_owner(tmp_path: Path) -> None:
    (tmp_path / "program").write_text("#!/bin/sh\n")
    (tmp_path / "program").chmod(0o6755)

    storage.store(tmp_path / "program", f"file://{tmp_path}/out/program")

    assert (tmp_path / "out/program").stat().st_mode & 0o7777 == 0o755


def test_a_document_in_s3_names_only_what_is_in_s3() -> None:
    storage.check_reference("s3://bucket/manifest", "s3://other/key")
    storage.check_reference("file:///data/manifest", "file:///data/key")
    for uri in ("file:///etc/passwd", "/etc/passwd", "https://example.org/x", "FILE:///etc/passwd"):
        with pytest.raises(UserError, match="can name only s3:// URIs"):
            storage.check_reference("s3://bucket/manifest", uri)


@pytest.mark.parametrize("uri", ["s3://here/key", "s3://here/folder/key"])
def test_what_is_not_in_s3_does_not_exist(
    uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    storage._s3.cache_clear()  # noqa: SLF001 - the client of another test is not mocked
    with mock_aws():
        boto3.client("s3", region_name="us-east-1").create_bucket(Bucket="here")
        for read in (storage.read_typed, lambda uri: storage.fetch(uri, tmp_path / "a")):
            with pytest.raises(UserError) as refusal:
                read(uri)
            assert str(refusal.value) == f"{uri} does not exist"
        with pytest.raises(UserError, match=r"^s3://nowhere does not exist$"):
            storage.store_bytes(b"1", "s3://nowhere/key")
    storage._s3.cache_clear()  # noqa: SLF001 - this client is
