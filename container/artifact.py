"""The artifact: what training leaves in the model directory, for serving and evaluation.

    model.json          the manifest; its presence means that the artifact is complete
    model.keras         the Keras model
    saved_model/        the same as a SavedModel with the signature `serving_default`
    model.tflite        the same as a LiteRT flatbuffer, if the model converts
    model_int8.tflite   the same with eight-bit weights and activations, if they were asked for

All take `[batch, height, width, channel] uint8 0-255` and return probabilities `[batch, class]
float32`.

Rules of this file: it is the only reader and writer of the manifest; standard library only.
"""

import dataclasses
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from container.errors import PlatformError, UserError

FORMAT_VERSION: Final = 1
MANIFEST_NAME: Final = "model.json"
HISTORY_NAME: Final = "history.json"
"""The metrics of each epoch, for the learning curves of a report."""
KERAS_NAME: Final = "model.keras"
SAVED_MODEL_NAME: Final = "saved_model"
LITERT_NAME: Final = "model.tflite"
LITERT_INT8_NAME: Final = "model_int8.tflite"
FLATBUFFERS: Final = {"litert": LITERT_NAME, "litert_int8": LITERT_INT8_NAME}
RUNTIMES: Final = (*FLATBUFFERS, "openvino", "saved_model", "keras")
"""What can predict with an artifact."""
TOLERANCE: Final = 1e-5
"""Two models agree whose probabilities differ by no more."""
_STAGING_PREFIX: Final = ".staging-"


@dataclass(frozen=True)
class Manifest:
    """The content of `model.json`: all that a reader must know before it loads a model."""

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
    # The default is for manifests of older versions, which published only flatbuffers that agreed.
    differences: Mapping[str, float] = field(default_factory=lambda: {"litert": TOLERANCE})
    """For each flatbuffer in the artifact, `litert` or `litert_int8`, the largest difference of its
    probabilities from Keras', measured on real images at export."""
    input_dtype: str = "uint8"
    format_version: int = FORMAT_VERSION

    @property
    def resize(self) -> str:
        """What training did with pictures of another size, which serving does as well."""
        return str(self.hyperparameters.get("resize", "refuse"))


@dataclass(frozen=True)
class Artifact:
    """A complete artifact on disk."""

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
        """The LiteRT flatbuffer, if the manifest's `differences` name it."""
        return self.root / LITERT_NAME

    @property
    def litert_agrees(self) -> bool:
        """Whether there is a LiteRT flatbuffer with Keras' probabilities."""
        return self.manifest.differences.get("litert", 1.0) <= TOLERANCE


def load(model_dir: Path) -> Artifact:
    """Find the artifact in `model_dir`, or in the only directory below it (TRIP-21).

    Raises: UserError if there is none, if this version cannot read the manifest, or if a file that
    the manifest names is missing.
    """
    root = _find_root(model_dir)
    manifest = _parse_manifest(root / MANIFEST_NAME)
    promised = [KERAS_NAME, SAVED_MODEL_NAME, *(FLATBUFFERS[name] for name in manifest.differences)]
    missing = [name for name in promised if not (root / name).exists()]
    if missing:
        found = _list_entries(root)
        raise UserError(
            f"the artifact in {root} is incomplete: {', '.join(missing)} missing; found {found}"
        )
    return Artifact(root, manifest)


@contextmanager
def staging(model_dir: Path) -> Iterator[Path]:
    """Make a directory on the model directory's file system, to build an artifact for `publish`.

    It is removed at the end, so that nothing half-written is uploaded (OUT-7).

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
    """Move a staged artifact's files into the model directory and write its manifest last.

    An older artifact's manifest is removed first: a reader, or an upload after a stop, finds the
    old artifact, none, or the new one, never a mixture. Files are on disk before the manifest names
    them (TRIP-24).

    Raises: PlatformError if the disk is full or the directory cannot be written.
    """
    model_dir = stage.parent
    try:
        text = json.dumps(dataclasses.asdict(manifest), indent=2, allow_nan=False) + "\n"
        (stage / MANIFEST_NAME).write_text(text, encoding="utf-8")
        for path in sorted(stage.rglob("*")):
            sync(path)
        (model_dir / MANIFEST_NAME).unlink(missing_ok=True)
        for name in (HISTORY_NAME, KERAS_NAME, SAVED_MODEL_NAME, *FLATBUFFERS.values()):
            target = model_dir / name
            if target.is_dir():
                shutil.rmtree(target)
            if (stage / name).exists():
                (stage / name).replace(target)
            else:
                target.unlink(missing_ok=True)  # of an older artifact
        (stage / MANIFEST_NAME).replace(model_dir / MANIFEST_NAME)
        sync(model_dir)
    except OSError as error:
        raise PlatformError(f"the artifact cannot be written to {model_dir}: {error}") from error
    return load(model_dir)


def sync(path: Path) -> None:
    """Flush a file, or the names in a directory, to the disk. Raises: OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def find_manifest(model_dir: Path) -> Path | None:
    """Return the manifest in a directory, or in the only one below it, or None."""
    manifest = model_dir / MANIFEST_NAME
    directories = [entry for entry in model_dir.glob("*") if entry.is_dir()]
    if not manifest.is_file() and len(directories) == 1:
        manifest = directories[0] / MANIFEST_NAME
    return manifest if manifest.is_file() else None


def _find_root(model_dir: Path) -> Path:
    manifest = find_manifest(model_dir)
    if manifest is not None:
        return manifest.parent
    raise UserError(
        f"{model_dir} holds no artifact: {MANIFEST_NAME} is expected there or one directory below; "
        f"found {_list_entries(model_dir)}"
    )


def _list_entries(directory: Path) -> str:
    if not directory.is_dir():
        return "no such directory"
    names = sorted(entry.name for entry in directory.iterdir())
    if len(names) > 10:
        names[10:] = ["..."]
    return ", ".join(names) or "nothing"


def _parse_manifest(path: Path) -> Manifest:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        version = document.pop("format_version")
        if version != FORMAT_VERSION:
            message = f"{path} has format version {version!r}; this toolkit reads {FORMAT_VERSION}"
            raise UserError(message)
        height, width, channels = document.pop("input_shape")
        classes = tuple(document.pop("classes"))
        for name, difference in document.get("differences", {}).items():
            if name not in FLATBUFFERS or float(difference) < 0:
                message = f"differences: {name}: {difference}"
                raise ValueError(message)  # noqa: TRY301 - reported below
        return Manifest(
            input_shape=(int(height), int(width), int(channels)), classes=classes, **document
        )
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        message = f"{path} is not a manifest of this toolkit: {type(error).__name__}: {error}"
        raise UserError(message) from error
