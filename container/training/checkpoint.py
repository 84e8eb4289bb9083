"""Checkpoints: everything that the next step depends on, in one file.

    checkpoint-0000001404.npz     after 1404 steps: arrays by name, and `progress`, a JSON text

A file is written under a hidden name, synced to the disk and renamed (CK-2), so it is complete or
absent. The checksums of the zip format detect a damaged file; the one before it is used then.
"""

import dataclasses
import json
import os
import re
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from container import contract
from container.data.images import LabeledImages
from container.data.stream import ImageSet
from container.errors import PlatformError, UserError
from container.training.settings import Settings

FORMAT_VERSION: Final = 1
_NAME: Final = re.compile(r"checkpoint-\d{10,}\.npz")
_PROGRESS: Final = "progress"
_DAMAGE: Final = (OSError, ValueError, RecursionError, KeyError, EOFError, BadZipFile, zlib.error)
# Settings that a job may change between two starts; all others decide the weights.
_FREE: Final = frozenset(
    {
        "checkpoint_dir",
        "checkpoint_interval_s",
        "checkpoints_kept",
        "max_runtime_s",
        "min_accuracy",
        "min_f1",
        "require_gpu",
        "resume",
        "host_wait_s",
        "label_column",
        "charset",
        "memory_budget_mb",
        "precision",
        "threads",
        "towers",
        "xla",
    }
)

Arrays = Mapping[str, npt.NDArray[Any]]


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """A training job between two steps."""

    arrays: Arrays
    """The state of the loop, and `best_weights` and `best_statistics` of the best epoch so far."""
    progress: Mapping[str, Any]
    """The state of the outer loop, as JSON values."""
    identity: Mapping[str, Any]
    """What the job is; a job with another identity must not resume from here (SP-2)."""


def find_directory(settings: Settings, layout: contract.Layout) -> Path | None:
    """Return the directory of checkpoints, or None if the job writes none (CK-1)."""
    if settings.checkpoint_dir:
        return Path(settings.checkpoint_dir)
    return layout.checkpoints if layout.checkpoints.is_dir() else None


def identify(settings: Settings, data: ImageSet, parameter_count: int) -> dict[str, Any]:
    """Describe a job by everything that decides its weights; of a stream, only by the labels."""
    values = dataclasses.asdict(settings)
    decisive = {name: value for name, value in values.items() if name not in _FREE}
    # Lists for tuples, as they come back from a file.
    plain: dict[str, Any] = json.loads(json.dumps(decisive))
    checksum = zlib.crc32(np.ascontiguousarray(data.labels).data)
    if isinstance(data, LabeledImages):
        checksum = zlib.crc32(np.ascontiguousarray(data.images).data, checksum)
    return plain | {
        "parameters": parameter_count,
        "training images": len(data.labels),
        "classes": len(data.classes),
        "checksum of the training images": checksum,
    }


def save(directory: Path, checkpoint: Checkpoint, *, step: int, kept: int) -> None:
    """Write a checkpoint after `step` steps; keep the newest `kept`, remove partial files.

    Raises: PlatformError if the disk is full or the directory cannot be written.
    """
    path = directory / f"checkpoint-{step:010d}.npz"
    partial = directory / f".{path.name}.partial"
    document = {
        "format": FORMAT_VERSION,
        "progress": checkpoint.progress,
        "identity": checkpoint.identity,
    }
    text = np.frombuffer(json.dumps(document).encode(), np.uint8)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            np.savez(file, allow_pickle=False, **{_PROGRESS: text}, **checkpoint.arrays)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        for old in _list_newest_first(directory)[kept:]:
            old.unlink(missing_ok=True)
        for left_over in directory.glob(".checkpoint-*.partial"):
            left_over.unlink(missing_ok=True)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise PlatformError(f"the checkpoint {path} cannot be written: {error}") from error


def load_newest(
    directory: Path, identity: Mapping[str, Any], warn: Callable[[str], None]
) -> Checkpoint | None:
    """Load the newest checkpoint that can be read, or return None.

    A damaged checkpoint is skipped with a warning.

    Raises: UserError with the differences if it belongs to another job.
    """
    for path in _list_newest_first(directory):
        try:
            with np.load(path, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            document = json.loads(arrays.pop(_PROGRESS).tobytes())
            found, version = document["identity"], document["format"]
            checkpoint = Checkpoint(arrays, document["progress"], found)
        except _DAMAGE as error:
            reason = f"{type(error).__name__}: {error}"
            warn(f"the checkpoint {path} is damaged ({reason}); trying the one before it")
            continue
        differences = _compare(found, identity)
        if version != FORMAT_VERSION:
            differences = [f"format version: {version!r} there, {FORMAT_VERSION} now"]
        if differences:
            summary = (
                f"the checkpoint {path} belongs to another job; empty the directory or set "
                "resume=false"
            )
            raise UserError.from_faults(summary, differences)
        return checkpoint
    return None


def _compare(found: Mapping[str, Any], identity: Mapping[str, Any]) -> list[str]:
    return [
        f"{name}: {found.get(name)!r} there, {identity.get(name)!r} now"
        for name in sorted(found.keys() | identity.keys())
        if found.get(name) != identity.get(name)
    ]


def _list_newest_first(directory: Path) -> list[Path]:
    if not directory.is_dir():
        return []
    found = [path for path in directory.iterdir() if _NAME.fullmatch(path.name)]
    return sorted(found, key=lambda path: int(path.stem.rpartition("-")[2]), reverse=True)
