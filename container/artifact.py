"""The artefact: what training leaves in the model directory and serving and evaluation find there.

    model.json      the manifest; its presence says that the artefact is whole
    model.keras     the Keras model
    saved_model/    the same as a SavedModel with the signature `serving_default`
    model.tflite    the same as a LiteRT flatbuffer

All three take `[batch, height, width, channel] uint8 0-255` and give `[batch, class] float32` probabilities.

Rules of this file: it is the only reader and writer of the manifest; standard library only.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from container.errors import PlatformError, UserError

FORMAT_VERSION: Final = 1
MANIFEST_NAME: Final = "model.json"
KERAS_NAME: Final = "model.keras"
SAVED_MODEL_NAME: Final = "saved_model"
LITERT_NAME: Final = "model.tflite"
_STAGING_PREFIX: Final = ".staging-"


@dataclass(frozen=True)
class Manifest:
    """What `model.json` says: all that a reader needs to know before it loads a model."""

    input_shape: tuple[int, int, int]
    """Height, width and channels of one image."""
    classes: tuple[int | str, ...]
    """The label of each column of the probabilities, as the training data wrote it."""
    hyperparameters: Mapping[str, Any]
    """Every hyperparameter's value in the training job, defaults included."""
    metrics: Mapping[str, float]
    """The last value of each metric of training and evaluation."""
    training_time_s: float
    """Seconds from the first to the last training step."""
    versions: Mapping[str, str]
    """Versions of `python`, `tensorflow`, `keras` and `toolkit` (TRIP-28)."""
    input_dtype: str = "uint8"
    format_version: int = FORMAT_VERSION


@dataclass(frozen=True)
class Artifact:
    """A whole artefact on disk."""

    root: Path
    manifest: Manifest

    @property
    def keras(self) -> Path:
        """The `.keras` file."""
        return self.root / KERAS_NAME

    @property
    def saved_model(self) -> Path:
        """The SavedModel's directory."""
        return self.root / SAVED_MODEL_NAME

    @property
    def litert(self) -> Path:
        """The LiteRT flatbuffer."""
        return self.root / LITERT_NAME


def load(model_dir: Path) -> Artifact:
    """Find the artefact in `model_dir`, or in the only directory below it (TRIP-21).

    Raises: UserError if there is none, naming what the directory holds; if the manifest is not one that this version
    reads; or if a file that it promises is missing.
    """
    root = _find_root(model_dir)
    manifest = _parse_manifest(root / MANIFEST_NAME)
    missing = [name for name in (KERAS_NAME, SAVED_MODEL_NAME, LITERT_NAME) if not (root / name).exists()]
    if missing:
        message = f"the artefact in {root} is not whole: {', '.join(missing)} missing; found {_listing(root)}"
        raise UserError(message)
    return Artifact(root, manifest)


@contextmanager
def staging(model_dir: Path) -> Iterator[Path]:
    """Give a directory, on the model directory's own file system, to build an artefact in; `publish` it from there.

    On any error it is removed again, so that nothing half-written is uploaded (OUT-7).

    Raises: PlatformError if the model directory cannot be written.
    """
    try:
        model_dir.mkdir(parents=True, exist_ok=True)
        for left_over in model_dir.glob(f"{_STAGING_PREFIX}*"):  # of a run that was killed
            shutil.rmtree(left_over, ignore_errors=True)
        stage = Path(tempfile.mkdtemp(prefix=_STAGING_PREFIX, dir=model_dir))
    except OSError as error:
        message = f"the model directory {model_dir} cannot be written: {error}"
        raise PlatformError(message) from error
    try:
        yield stage
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def publish(stage: Path, manifest: Manifest) -> Artifact:
    """Move a staged artefact's files into the model directory and write its manifest last.

    An older artefact's manifest goes first: a reader, or an upload that a stop sets off, sees the old artefact, none,
    or the new one, and never a mixture. Files are on disk before the manifest names them (TRIP-24).

    Raises: PlatformError if the disk is full or the directory cannot be written.
    """
    model_dir = stage.parent
    try:
        (stage / MANIFEST_NAME).write_text(_format_manifest(manifest), encoding="utf-8")
        for path in sorted(stage.rglob("*")):
            _sync(path)
        (model_dir / MANIFEST_NAME).unlink(missing_ok=True)
        for name in (KERAS_NAME, SAVED_MODEL_NAME, LITERT_NAME):
            target = model_dir / name
            if target.is_dir():
                shutil.rmtree(target)
            (stage / name).replace(target)
        (stage / MANIFEST_NAME).replace(model_dir / MANIFEST_NAME)
        _sync(model_dir)
    except OSError as error:
        message = f"the artefact cannot be written to {model_dir}: {error}"
        raise PlatformError(message) from error
    return load(model_dir)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _find_root(model_dir: Path) -> Path:
    if (model_dir / MANIFEST_NAME).is_file():
        return model_dir
    entries = [] if not model_dir.is_dir() else [entry for entry in model_dir.iterdir() if entry.is_dir()]
    if len(entries) == 1 and (entries[0] / MANIFEST_NAME).is_file():
        return entries[0]
    message = (
        f"{model_dir} holds no artefact: {MANIFEST_NAME} is expected there or one directory below; "
        f"found {_listing(model_dir)}"
    )
    raise UserError(message)


def _listing(directory: Path) -> str:
    if not directory.is_dir():
        return "no such directory"
    names = sorted(entry.name for entry in directory.iterdir())
    return ", ".join(names[:10]) + (" ..." if len(names) > 10 else "") if names else "nothing"


def _format_manifest(manifest: Manifest) -> str:
    return json.dumps(dataclasses.asdict(manifest), indent=2, allow_nan=False) + "\n"


def _parse_manifest(path: Path) -> Manifest:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        version = document.pop("format_version")
        if version != FORMAT_VERSION:
            message = f"{path} has format version {version!r}; this toolkit reads {FORMAT_VERSION}"
            raise UserError(message)
        height, width, channels = document.pop("input_shape")
        classes = tuple(document.pop("classes"))
        return Manifest(input_shape=(int(height), int(width), int(channels)), classes=classes, **document)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        message = f"{path} is not a manifest of this toolkit: {type(error).__name__}: {error}"
        raise UserError(message) from error
