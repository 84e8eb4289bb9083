"""`python -m container train` reaches the same accuracy in all formats and input modes.

`test_formats.py` compares the images of each format; here complete jobs run.
"""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.contract.test_formats import FORMATS

MakeJob = Callable[..., Path]
READ_ONLY = 'mount --bind -o ro "$1" "$2" && mount -o remount,bind,ro "$2" && shift 2 && exec "$@"'


def configure(base: Path, channel: str, **entry: str) -> None:
    path = base / "input/config/inputdataconfig.json"
    config = json.loads(path.read_text())
    config[channel] = {
        "S3DistributionType": "FullyReplicated",
        "RecordWrapperType": "None",
        **entry,
    }
    path.write_text(json.dumps(config))


def train(base: Path, *prefix: str) -> float:
    """Run the job and return its test accuracy."""
    done = subprocess.run(
        [*prefix, sys.executable, "-m", "container", "train"],
        env={**os.environ, "SAGEMAKER_BASE_DIR": str(base)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    (base / "train.log").write_text(done.stdout + done.stderr)
    assert done.returncode == 0, done.stdout + done.stderr
    accuracy: float = json.loads((base / "output/data/metrics.json").read_text())["accuracy"]
    return accuracy


@pytest.fixture(scope="module")
def make_format_job(formats: Path, digits_channels: Path, make_job: MakeJob) -> MakeJob:
    """Return `make(FORMAT)`: a short job with a training channel of that format."""

    def make(name: str, *channels: str) -> Path:
        directories = {"test": digits_channels / "test", "train": formats / name}
        return make_job({key: directories[key] for key in channels or directories}, epochs=12)

    return make


@pytest.fixture(scope="module")
def csv_accuracy(make_format_job: MakeJob) -> float:
    accuracy = train(make_format_job("csv"))
    assert accuracy > 0.85
    return accuracy


def wrap(content: bytes) -> bytes:
    return struct.pack("<II", 0xCED7230A, len(content)) + content + bytes(-len(content) % 4)


CELLS = [
    pytest.param(
        name, mode, marks=() if (name, mode) == ("tfrecord", "FastFile") else pytest.mark.slow
    )
    for name in FORMATS
    for mode in ("File", "FastFile")
    if (name, mode) != ("csv", "File")
]


@pytest.mark.parametrize(("name", "mode"), CELLS)
def test_every_format_trains_to_the_accuracy_of_csv(
    name: str, mode: str, make_format_job: MakeJob, formats: Path, csv_accuracy: float
) -> None:
    if mode == "File":
        accuracy = train(make_format_job(name))
    else:
        base = make_format_job(name, "test")
        channel = base / "input/data/train"
        channel.mkdir()
        configure(base, "train", TrainingInputMode=mode)
        unshare = [
            "unshare",
            "--mount",
            *(["--map-root-user"] if os.geteuid() else []),
            "sh",
            "-c",
            READ_ONLY,
            "sh",
        ]
        accuracy = train(base, *unshare, str(formats / name), str(channel))
    order_differs = name in {"png", "bmp", "gif", "tiff"}  # class by class
    assert accuracy == pytest.approx(csv_accuracy, abs=0.06 if order_differs else 0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("path", "wrapper"),
    [
        ("csv/digits.csv", "None"),
        ("csv/digits.csv", "RecordIO"),
        ("tfrecord-raw/digits.tfrecord", "None"),
    ],
)
def test_every_format_that_may_come_by_pipe_trains_to_the_accuracy_of_csv(
    path: str, wrapper: str, make_format_job: MakeJob, formats: Path, csv_accuracy: float
) -> None:
    base = make_format_job("csv", "test")
    configure(base, "train", TrainingInputMode="Pipe", RecordWrapperType=wrapper)
    content = (formats / path).read_bytes()
    assert (
        train_from_pipe(base, [wrap(content) if wrapper == "RecordIO" else content]) == csv_accuracy
    )


def test_augmented_manifest_from_a_pipe_trains_to_the_accuracy_of_the_same_pictures(
    make_format_job: MakeJob, formats: Path, csv_accuracy: float
) -> None:
    base = make_format_job("csv", "test")
    configure(base, "train", TrainingInputMode="Pipe", RecordWrapperType="RecordIO")
    # Sorted in the order of the CSV rows.
    paths = sorted((formats / "png").rglob("*.png"), key=lambda path: path.name)
    records = [
        part
        for path in paths
        for part in (wrap(path.read_bytes()), wrap(path.parent.name.encode()))
    ]
    assert train_from_pipe(base, records) == csv_accuracy


def train_from_pipe(base: Path, objects: Sequence[bytes]) -> float:
    fifo = base / "input/data/train_0"
    os.mkfifo(fifo)

    def write() -> None:
        with fifo.open("wb") as stream:
            for content in objects:
                stream.write(content)

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    accuracy = train(base)
    writer.join(60)
    assert not writer.is_alive()
    return accuracy
