"""Every format yields the same digits: TensorFlow, Pillow and numpy write, `loading` reads."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from container import contract
from container.data import loading
from container.data.formats.parts import Options
from container.data.images import LabeledImages
from container.data.stream import Stream
from container.errors import UserError
from container.training.input.decoding import Decoder

FORMATS = (
    "csv",
    "csv-gzip",
    "png",
    "bmp",
    "gif",
    "tfrecord",
    "tfrecord-raw",
    "tfrecord-integers",
    "npz",
    "npz-float",
    "npy",
    "idx",
    "idx-gzip",
    "tiff",
    "webdataset",
    "parquet",
)


def sort(loaded: LabeledImages) -> tuple[list[bytes], list[object]]:
    """Return images and labels in an order independent of the files."""
    rows = sorted(
        (image.tobytes(), loaded.classes[label])
        for image, label in zip(loaded.images, loaded.labels, strict=True)
    )
    return [row[0] for row in rows], [row[1] for row in rows]


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_same_digits(name: str, formats: Path) -> None:
    expected = loading.load(formats / "csv")
    loaded = loading.load(formats / name)
    assert loaded.images.shape == (300, 8, 8, 1)
    assert loaded.images.dtype == np.uint8
    assert loaded.labels.dtype == np.int32
    assert loaded.classes == tuple(range(10))
    assert sort(loaded) == sort(expected)


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_same_digits_decoded_by_tensorflow_and_streamed(
    name: str, formats: Path, tmp_path: Path
) -> None:
    decoder = Decoder()
    decoder.start()
    (tmp_path / "input/data").mkdir(parents=True)
    (tmp_path / "input/data/train").symlink_to(formats / name)
    expected = loading.load(formats / name)
    for budget_bytes in (None, 0):
        options = Options(run=decoder.run, memory_budget_bytes=budget_bytes)
        channel = contract.Channel("train")
        found = loading.open_channel(contract.Layout(tmp_path), channel, options)
        assert isinstance(found, Stream) == (budget_bytes == 0)
        loaded = found.mapped() if isinstance(found, Stream) else found
        assert np.array_equal(loaded.images, expected.images)
        assert np.array_equal(loaded.labels, expected.labels)
        assert loaded.classes == expected.classes


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_is_read_from_a_directory_that_cannot_be_written(
    name: str, formats: Path, tmp_path: Path
) -> None:
    channel = tmp_path / "input/data/train"
    channel.mkdir(parents=True)
    script = (
        "import sys; from pathlib import Path\n"
        "from container import contract; from container.data import loading\n"
        "layout = contract.Layout(Path(sys.argv[1]))\n"
        "channel = contract.Channel('train', input_mode='FastFile')\n"
        "print(len(loading.open_channel(layout, channel).labels))"
    )
    mount = 'mount --bind -o ro "$1" "$2" && mount -o remount,bind,ro "$2" && shift 2 && exec "$@"'
    done = subprocess.run(
        [
            *(
                "unshare",
                "--mount",
                *(["--map-root-user"] if os.geteuid() else []),
                "sh",
                "-c",
                mount,
                "sh",
            ),
            *(str(formats / name), str(channel), sys.executable, "-c", script, str(tmp_path)),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert (done.returncode, done.stdout) == (0, "300\n"), done.stderr


@pytest.mark.parametrize(
    ("name", "content_type"),
    [
        ("csv", "text/csv"),
        ("png", "application/x-image"),
        ("tfrecord", "application/x-tfrecord"),
        ("csv", "image/png"),
    ],
)
def test_content_type_is_a_hint(name: str, content_type: str, formats: Path) -> None:
    assert len(loading.load(formats / name, content_type=content_type).labels) == 300


def test_mixed_formats_are_told_apart_by_content_type_or_hyperparameter(
    formats: Path, tmp_path: Path
) -> None:
    (tmp_path / "digits.csv").symlink_to(formats / "csv/digits.csv")
    (tmp_path / "digits.npz").symlink_to(formats / "npz/digits.npz")
    with pytest.raises(
        UserError, match=r"several formats: 1 CSV files, 1 NPZ files; set data_format"
    ):
        loading.load(tmp_path)
    assert loading.load(tmp_path, content_type="text/csv; charset=utf-8").images.shape == (
        300,
        8,
        8,
        1,
    )
    assert loading.load(tmp_path, Options(data_format="npz")).images.shape == (300, 8, 8, 1)


@pytest.mark.parametrize("offset", [0, 1, 40, 100])
def test_records_with_a_wrong_checksum_are_named_and_can_be_skipped(
    offset: int, formats: Path, tmp_path: Path
) -> None:
    content = bytearray((formats / "tfrecord-raw/digits.tfrecord").read_bytes())
    content[12 + offset] ^= 1
    (tmp_path / "digits.tfrecord").write_bytes(content)
    with pytest.raises(UserError, match=r"digits\.tfrecord, record 0: its checksum is wrong"):
        loading.load(tmp_path)
    loaded = loading.load(tmp_path, Options(bad_record_limit=100))
    assert len(loaded.labels) == 299
    assert loaded.rejected == (f"{tmp_path}/digits.tfrecord, record 0: its checksum is wrong",)


@pytest.mark.parametrize("cut", [1, 5, 20])
def test_tfrecord_file_that_ends_early_names_the_record(
    cut: int, formats: Path, tmp_path: Path
) -> None:
    content = (formats / "tfrecord-raw/digits.tfrecord").read_bytes()
    (tmp_path / "digits.tfrecord").write_bytes(content[:-cut])
    with pytest.raises(UserError, match=r"record 299"):
        loading.load(tmp_path)
    assert len(loading.load(tmp_path, Options(bad_record_limit=100)).labels) == 299


def test_empty_shards_hidden_files_and_manifests_are_passed_over(
    formats: Path, tmp_path: Path
) -> None:
    channel = tmp_path / "input/data/train"
    (channel / "part-0").mkdir(parents=True)
    (channel / "part-0/digits.csv").symlink_to(formats / "csv/digits.csv")
    (channel / "part-1").mkdir()
    (channel / "part-1/_SUCCESS").touch()
    (channel / "folder").touch()
    (channel / ".DS_Store").write_bytes(b"\0\1")
    (tmp_path / "input/data/train-manifest").write_text('[{"prefix": "s3://bucket/x"}]')
    loaded = loading.open_channel(contract.Layout(tmp_path), contract.Channel("train"))
    assert len(loaded.labels) == 300
