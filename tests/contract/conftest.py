"""Fixtures of the contract ring: the same digits in every format."""

from __future__ import annotations

import gzip
import io
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray
from PIL import Image
from pyarrow import parquet

from tests.support import share

Digits = dict[str, tuple[NDArray[np.uint8], NDArray[np.int32]]]


@pytest.fixture(scope="session")
def formats(tmp_path_factory: pytest.TempPathFactory, digits: Digits) -> Path:
    """Write a channel for each format, all with the same 300 digits. Read-only."""

    def write() -> Path:
        return write_formats(tmp_path_factory.mktemp("formats"), digits)

    return share(tmp_path_factory, "formats", write)


def write_formats(root: Path, digits: Digits) -> Path:
    images, labels = digits["train"][0][:300], digits["train"][1][:300]
    for name in ("csv", "csv-gzip", "npz", "npz-float", "npy", "idx", "idx-gzip"):
        (root / name).mkdir()
    np.savez(root / "digits.npz", x=images, y=labels)
    rows = "".join(
        ",".join(map(str, row)) + "\n" for row in np.column_stack([labels, images.reshape(300, -1)])
    )
    (root / "csv/digits.csv").write_text(rows)
    # The name does not reveal the format.
    (root / "csv-gzip/part-00000").write_bytes(gzip.compress(rows.encode()))
    for suffix in ("png", "bmp", "gif", "tiff"):
        for index, (image, label) in enumerate(zip(images, labels, strict=True)):
            path = root / suffix / str(label) / f"{index:03}.{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image[:, :, 0]).save(path)
    np.savez_compressed(
        root / "npz/digits.npz",
        x_train=images[..., 0],
        y_train=labels,
        x_test=images[:3],
        y_test=[0],
    )
    np.savez(
        root / "npz-float/digits.npz", images=(images / np.float32(255)), labels=labels.astype(str)
    )
    np.save(root / "npy/images.npy", np.asfortranarray(images.reshape(300, 64)))
    np.save(root / "npy/labels.npy", labels[:, None])
    for name, opener in (("idx", open), ("idx-gzip", gzip.open)):
        end = ".gz" if name == "idx-gzip" else ""
        with opener(root / name / f"train-images-idx3-ubyte{end}", "wb") as file:
            file.write(
                bytes([0, 0, 8, 3]) + np.array([300, 8, 8], ">u4").tobytes() + images.tobytes()
            )
        with opener(root / name / f"train-labels-idx1-ubyte{end}", "wb") as file:
            file.write(
                bytes([0, 0, 8, 1])
                + np.array([300], ">u4").tobytes()
                + labels.astype(np.uint8).tobytes()
            )
    for name in ("webdataset", "parquet"):
        (root / name).mkdir()
    pictures = [
        (root / f"png/{label}/{index:03}.png").read_bytes() for index, label in enumerate(labels)
    ]
    with tarfile.open(root / "webdataset/shard-000.tar", "w") as archive:
        for index, (picture, label) in enumerate(zip(pictures, labels, strict=True)):
            for suffix, content in (("png", picture), ("cls", b"%d" % label)):
                member = tarfile.TarInfo(f"{index:03}.{suffix}")
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    structs = [{"bytes": picture, "path": None} for picture in pictures]
    table = pa.table({"image": structs, "label": labels})
    parquet.write_table(table, root / "parquet/train-00000-of-00001.parquet")
    command = [sys.executable, str(Path(__file__).with_name("write_digits.py")), str(root)]
    subprocess.run(
        command,
        check=True,
        capture_output=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        timeout=300,
    )
    return root
