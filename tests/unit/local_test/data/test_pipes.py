"""The bytes of an epoch in Pipe mode."""

from __future__ import annotations

import gzip
import json
import tempfile
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from container.errors import UserError
from local_test.data import channels, pipes, record_formats, storage
from tests.support import wait_until


def encode(uri: str, kind: str = "S3Prefix", **changes: Any) -> bytes:
    names = changes.pop("AttributeNames", ())
    source = {"S3DataType": kind, "S3Uri": uri, "AttributeNames": names}
    channel = {"DataSource": {"S3DataSource": source}, **changes}
    return b"".join(pipes.encode_epoch(channel, channels.list_channel(channel), 0))


def test_objects_are_concatenated_wrapped_and_decompressed(tmp_path: Path) -> None:
    for name in ("a", "b"):
        storage.store_bytes(name.encode(), f"file://{tmp_path}/plain/{name}")
        storage.store_bytes(gzip.compress(name.encode()), f"file://{tmp_path}/packed/{name}")

    assert encode(f"file://{tmp_path}/plain/") == b"ab"
    assert encode(f"file://{tmp_path}/packed/", CompressionType="Gzip") == b"ab"  # IN-5
    wrapped = encode(f"file://{tmp_path}/plain/", RecordWrapperType="RecordIO")
    assert [record.payload for record in record_formats.split(wrapped, "RecordIO")] == [b"a", b"b"]
    with pytest.raises(UserError, match="cannot be decompressed as gzip"):
        encode(f"file://{tmp_path}/plain/", CompressionType="Gzip")


def test_an_augmented_manifest_interleaves_its_attributes(tmp_path: Path) -> None:
    storage.store_bytes(b"pixels", f"file://{tmp_path}/picture")
    line = {"image-ref": f"file://{tmp_path}/picture", "label": 7, "text": "x"}
    uri = f"file://{tmp_path}/manifest"
    storage.store_bytes(json.dumps(line).encode(), uri)

    names = ("image-ref", "label", "text")
    assert encode(uri, "AugmentedManifestFile", AttributeNames=names) == b"pixels7x"  # IN-9
    with pytest.raises(UserError, match="no attribute 'other'; it has image-ref, label, text"):
        encode(uri, "AugmentedManifestFile", AttributeNames=("other",))
    for wrong, message in (
        (b"[1]", "not a JSON object"),
        (b"\n \n", "has no lines"),
        (b"{", "line 1 is not JSON"),
        (b"[" * 10**5, "not JSON"),
        (b'{"label": 1, "label": 2}', "an object has 'label' twice"),
        ('{"label": "café"}'.encode("latin-1"), "is not UTF-8, as JSON lines are"),
    ):
        storage.store_bytes(wrong, uri)
        with pytest.raises(UserError, match=message):
            encode(uri, "AugmentedManifestFile", AttributeNames=names)


@given(
    labels=st.lists(st.text(max_size=8) | st.integers(), min_size=1, max_size=8),
    has_mark=st.booleans(),
)
def test_an_augmented_manifest_delivers_every_line_exactly(
    labels: list[str | int], *, has_mark: bool
) -> None:
    lines = [json.dumps({"label": label}, ensure_ascii=False) for label in labels]
    body = "\n\n".join([*lines, ""]).encode("utf-8-sig" if has_mark else "utf-8")
    with tempfile.TemporaryDirectory() as directory:
        uri = f"file://{directory}/manifest"
        storage.store_bytes(body, uri)
        options = {"AttributeNames": ("label",), "RecordWrapperType": "RecordIO"}
        records = record_formats.split(encode(uri, "AugmentedManifestFile", **options), "RecordIO")
    assert [record.payload for record in records] == [str(label).encode() for label in labels]


def test_an_augmented_manifest_in_s3_names_no_file_of_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = json.dumps({"image-ref": f"file://{tmp_path}/secret"}).encode()
    manifest = storage.StoredObject("s3://bucket/manifest", "manifest", len(line))
    monkeypatch.setattr(storage, "read", lambda _: line)
    monkeypatch.setattr(storage, "list_objects", lambda _: [manifest])

    with pytest.raises(UserError, match="can name only s3:// URIs"):
        encode(manifest.uri, "AugmentedManifestFile", AttributeNames=("image-ref",))


@pytest.fixture
def pipe(tmp_path: Path) -> pipes.Pipe:
    storage.store_bytes(b"data", f"file://{tmp_path}/plain/a")
    source = {"S3DataType": "S3Prefix", "S3Uri": f"file://{tmp_path}/plain/"}
    channel = {"ChannelName": "c", "DataSource": {"S3DataSource": source}}
    objects = channels.list_channel(channel)
    return pipes.Pipe(channel, objects, tmp_path / "ml/input/data/c")


def test_each_epoch_has_a_fifo_until_the_end(pipe: pipes.Pipe, tmp_path: Path) -> None:
    directory = tmp_path / "ml/input/data"
    for epoch in range(3):
        assert wait_until((directory / f"c_{epoch}").exists)
        assert (directory / f"c_{epoch}").read_bytes() == b"data"

    pipe.close()
    assert list(directory.iterdir()) == []


def test_a_link_in_the_place_of_a_fifo_is_never_written_to(
    pipe: pipes.Pipe, tmp_path: Path
) -> None:
    (tmp_path / "victim").write_text("untouched")
    fifo = tmp_path / "ml/input/data/c_0"
    fifo.unlink()
    fifo.symlink_to(tmp_path / "victim")

    pipe.close()  # it ends, although its FIFO has no name any more

    assert (tmp_path / "victim").read_text() == "untouched"


def test_a_link_in_the_place_of_the_next_fifo_ends_the_channel(
    pipe: pipes.Pipe, tmp_path: Path
) -> None:
    directory = tmp_path / "ml/input/data"
    (tmp_path / "victim").write_text("untouched")
    (directory / "c_1").symlink_to(tmp_path / "victim")

    assert (directory / "c_0").read_bytes() == b"data"
    name = "pipe c"
    wait_until(lambda: name not in [thread.name for thread in threading.enumerate()])
    with pytest.raises(UserError, match="channel 'c' ends early"):
        pipe.close()

    assert (tmp_path / "victim").read_text() == "untouched"


def test_a_directory_that_was_moved_away_is_still_the_pipes_own(
    pipe: pipes.Pipe, tmp_path: Path
) -> None:
    directory = tmp_path / "ml/input/data"
    directory.rename(tmp_path / "ml/moved")
    (tmp_path / "elsewhere").mkdir()
    directory.symlink_to(tmp_path / "elsewhere")

    assert (tmp_path / "ml/moved/c_0").read_bytes() == b"data"
    wait_until((tmp_path / "ml/moved/c_1").exists)
    pipe.close()

    assert list((tmp_path / "elsewhere").iterdir()) == []
