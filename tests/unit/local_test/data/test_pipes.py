"""The bytes of an epoch in Pipe mode."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from container.errors import UserError
from local_test.data import channels, pipes, record_formats, storage


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
    with pytest.raises(UserError, match="not a gzip file"):
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
    for wrong, message in ((b"[1]", "not a JSON object"), (b"{", "line 1 is not JSON")):
        storage.store_bytes(wrong, uri)
        with pytest.raises(UserError, match=message):
            encode(uri, "AugmentedManifestFile", AttributeNames=names)
