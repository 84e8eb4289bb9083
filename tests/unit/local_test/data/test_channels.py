"""Channels: their objects, order and distribution."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from container.errors import UserError
from local_test.data import channels, storage


def make_channel(uri: str, kind: str = "S3Prefix", **changes: Any) -> dict[str, Any]:
    return {"DataSource": {"S3DataSource": {"S3DataType": kind, "S3Uri": uri}}, **changes}


@pytest.fixture
def data(tmp_path: Path) -> str:
    for name in "abcdefgh":
        storage.store_bytes(name.encode(), f"file://{tmp_path}/data/{name}")
    return f"file://{tmp_path}/data/"


def test_a_seed_shuffles_each_epoch_in_a_repeatable_order(data: str) -> None:
    channel = make_channel(data, ShuffleConfig={"Seed": 3})

    names = [item.name for item in channels.list_channel(channel)]

    assert names != sorted(names)  # IN-8
    assert names == [item.name for item in channels.list_channel(channel)]
    assert channels.shuffle(names, channel, 1) != channels.shuffle(names, channel, 2)
    assert channels.shuffle(names, make_channel(data), 1) == names


def test_hosts_share_a_sharded_channel(data: str) -> None:
    channel = make_channel(data)
    objects = channels.list_channel(channel)
    assert channels.share(objects, channel, 1, 3) == objects

    channel["DataSource"]["S3DataSource"]["S3DataDistributionType"] = "ShardedByS3Key"
    parts = [channels.share(objects, channel, index, 3) for index in range(3)]
    assert sorted(item.name for part in parts for item in part) == list("abcdefgh")  # IN-7
    assert [len(part) for part in parts] == [3, 3, 2]


def test_a_manifest_names_the_objects(tmp_path: Path, data: str) -> None:
    manifest = f"file://{tmp_path}/manifest"
    storage.store_bytes(json.dumps([{"prefix": data}, "c", "a"]).encode(), manifest)

    objects = channels.list_channel(make_channel(manifest, "ManifestFile"))

    assert [item.name for item in objects] == ["c", "a"]
    storage.store_bytes(json.dumps([{"prefix": data}, "z"]).encode(), manifest)
    with pytest.raises(UserError, match="does not exist"):
        channels.list_channel(make_channel(manifest, "ManifestFile"))
    storage.store_bytes(json.dumps([{"prefix": data}]).encode(), manifest)
    with pytest.raises(UserError, match="names no object behind its prefix"):
        channels.list_channel(make_channel(manifest, "ManifestFile"))
    for wrong in (b"{}", b"[" * 100_000, b"[" + b"9" * 5000 + b"]"):
        storage.store_bytes(wrong, manifest)
        with pytest.raises(UserError, match="does not have the form"):
            channels.list_channel(make_channel(manifest, "ManifestFile"))


@pytest.mark.parametrize("is_linked", [False, True])
def test_objects_are_copied_or_linked(tmp_path: Path, data: str, is_linked: bool) -> None:
    objects = channels.list_channel(make_channel(data))

    channels.deliver(objects, tmp_path / "channel", is_linked=is_linked)

    assert (tmp_path / "channel/a").read_bytes() == b"a"
    assert (tmp_path / "channel/a").samefile(tmp_path / "data/a") == is_linked  # IN-3


def test_a_manifest_in_s3_names_no_file_of_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = json.dumps([{"prefix": f"file://{tmp_path}/"}, "secret"]).encode()
    monkeypatch.setattr(storage, "read", lambda _: body)

    with pytest.raises(UserError, match="can name only s3:// URIs"):
        channels.list_channel(make_channel("s3://bucket/manifest", "ManifestFile"))


@pytest.mark.parametrize("is_linked", [False, True])
def test_an_object_that_clashes_with_a_directory_is_an_error(
    tmp_path: Path, data: str, is_linked: bool
) -> None:
    objects = channels.list_channel(make_channel(data))
    clash = storage.StoredObject(objects[0].uri, "a/below", 1)

    with pytest.raises(UserError, match="cannot copy"):
        channels.deliver([*objects, clash], tmp_path / "channel", is_linked=is_linked)


@pytest.mark.parametrize("is_linked", [False, True])
def test_an_object_that_is_named_twice_is_delivered_once_and_stays(
    tmp_path: Path, data: str, is_linked: bool
) -> None:
    manifest = f"file://{tmp_path}/manifest"
    storage.store_bytes(json.dumps([{"prefix": data}, "c", "a", "c"]).encode(), manifest)
    objects = channels.list_channel(make_channel(manifest, "ManifestFile"))

    channels.deliver(objects, tmp_path / "channel", is_linked=is_linked)

    assert (tmp_path / "channel/c").read_bytes() == b"c"
    assert (tmp_path / "data/c").read_bytes() == b"c"


@pytest.mark.parametrize("is_linked", [False, True])
@pytest.mark.parametrize("name", ["./a", "x/../a", "a/"])
def test_two_objects_of_one_place_are_refused(
    tmp_path: Path, data: str, name: str, is_linked: bool
) -> None:
    """As `cat/1` and `Cat/1` are where the file system ignores cases."""
    objects = channels.list_channel(make_channel(data))
    clash = storage.StoredObject(objects[1].uri, name, 1)

    with pytest.raises(UserError, match=r"another object is there.*rename one of the two"):
        channels.deliver([*objects, clash], tmp_path / "channel", is_linked=is_linked)

    assert (tmp_path / "data/a").read_bytes() == b"a"
    assert (tmp_path / "channel/a").read_bytes() == b"a"
