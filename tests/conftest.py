"""Fixtures that several rings share: digits as CSV channels, and one finished training job."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import hypothesis
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.support import ROOT, share

MakeJob = Callable[..., Path]

# A busy machine may take a second for an example of a microsecond. Each run tries the same
# examples, so that no change is blamed for another's fault; `--hypothesis-profile random` finds
# new ones.
hypothesis.settings.register_profile("random", deadline=None)
hypothesis.settings.register_profile("same examples", deadline=None, derandomize=True)
hypothesis.settings.load_profile("same examples")


@pytest.fixture(autouse=True, scope="module")
def _forget_programs() -> Iterator[None]:
    """Forget what the tests of a file imported from temporary directories."""
    path = list(sys.path)
    yield
    sys.path[:] = path
    for name, module in sys.modules.copy().items():  # other threads import, too
        file = getattr(module, "__file__", None) or ""
        if file.startswith(tempfile.gettempdir()) and not file.startswith((str(ROOT), sys.prefix)):
            del sys.modules[name]


@pytest.fixture(scope="session")
def digits() -> dict[str, tuple[NDArray[np.uint8], NDArray[np.int32]]]:
    """`train` (1437) and `test` (360): images `[n, 8, 8, 1] uint8 0-255` and labels `[n] int32`."""
    # Imported by those who need it: this takes longer than most files of tests.
    from sklearn.datasets import load_digits  # noqa: PLC0415
    from sklearn.model_selection import train_test_split  # noqa: PLC0415

    bunch = load_digits()
    images = np.round(bunch.images * (255 / 16)).astype(np.uint8)[..., None]
    labels = bunch.target.astype(np.int32)
    train, test = train_test_split(
        np.arange(len(labels)), test_size=360, random_state=0, stratify=labels
    )
    return {name: (images[part], labels[part]) for name, part in (("train", train), ("test", test))}


@pytest.fixture(scope="session")
def digits_channels(
    tmp_path_factory: pytest.TempPathFactory,
    digits: dict[str, tuple[NDArray[np.uint8], NDArray[np.int32]]],
) -> Path:
    """Write the channels `train` and `test`, two CSV files with a header each. Read-only."""
    root = tmp_path_factory.mktemp("digits")
    header = ",".join(["label", *(f"pixel{i}" for i in range(64))])
    for name, (images, labels) in digits.items():
        (root / name).mkdir()
        rows = np.column_stack([labels, images.reshape(len(images), -1)])
        for part, half in enumerate(np.array_split(rows, 2)):
            np.savetxt(
                root / name / f"part-{part}.csv", half, "%d", ",", header=header, comments=""
            )
    return root


@pytest.fixture(scope="session")
def make_job(tmp_path_factory: pytest.TempPathFactory) -> MakeJob:
    """Return `make_job(channels, **hyperparameters)`, which lays out a job and returns its base.

    `channels` maps names to directories, which are linked and only read. Values are written as
    strings, as the platform writes them (TF-1, HP-1).
    """

    def make(channels: Mapping[str, Path], **hyperparameters: object) -> Path:
        base = tmp_path_factory.mktemp("job")
        (base / "input/config").mkdir(parents=True)
        (base / "input/data").mkdir()
        for name, directory in channels.items():
            (base / "input/data" / name).symlink_to(directory, target_is_directory=True)
        values = {name: str(value) for name, value in hyperparameters.items()}
        (base / "input/config/hyperparameters.json").write_text(json.dumps(values))
        entry = {
            "TrainingInputMode": "File",
            "S3DistributionType": "FullyReplicated",
            "RecordWrapperType": "None",
        }
        (base / "input/config/inputdataconfig.json").write_text(
            json.dumps(dict.fromkeys(channels, entry))
        )
        resources = {
            "current_host": "algo-1",
            "hosts": ["algo-1"],
            "network_interface_name": "eth0",
        }
        (base / "input/config/resourceconfig.json").write_text(json.dumps(resources))
        return base

    return make


@pytest.fixture(scope="session")
def run_train() -> Callable[[Path], subprocess.CompletedProcess[str]]:
    """Return `run_train(base)`, which runs `python -m container train` to its end."""

    def run(base: Path) -> subprocess.CompletedProcess[str]:
        environ = {**os.environ, "SAGEMAKER_BASE_DIR": str(base)}
        command = [sys.executable, "-m", "container", "train"]
        return subprocess.run(
            command, env=environ, capture_output=True, text=True, timeout=300, check=False
        )

    return run


@pytest.fixture(scope="session")
def digits_job(
    digits_channels: Path,
    make_job: MakeJob,
    run_train: Callable[[Path], subprocess.CompletedProcess[str]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """Train on the digits and return the job's base directory, with `train.log`. Read-only."""

    def train() -> Path:
        base = make_job({name: digits_channels / name for name in ("train", "test")}, epochs=20)
        result = run_train(base)
        (base / "train.log").write_text(result.stdout + result.stderr)
        assert result.returncode == 0, result.stdout + result.stderr
        return base

    return share(tmp_path_factory, "digits_job", train)
