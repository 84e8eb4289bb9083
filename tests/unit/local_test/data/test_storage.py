"""Objects at URIs on this disk."""

from __future__ import annotations

from pathlib import Path

import pytest

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
    with pytest.raises(UserError, match="no object has the prefix"):
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
