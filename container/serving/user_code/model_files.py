"""Finds a model that some tool has saved: LiteRT, ONNX, SavedModel or Keras.

Rules of this file: only file names decide; no runtime is imported before `load_model`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from container import artifact
from container.errors import UserError
from container.serving.user_code import model_runtimes

log = logging.getLogger(__name__)

KINDS: Final = "a .tflite, .onnx, .keras or .h5 file, or a SavedModel"
_KIND_BY_SUFFIX: Final = {".tflite": "LiteRT", ".onnx": "ONNX", ".keras": "Keras", ".h5": "Keras"}
_PREFERENCE: Final = ("LiteRT", "SavedModel", "Keras", "ONNX")
_DEPTH: Final = 4  # export/Servo/1/saved_model.pb
_SKIPPED: Final = ("code", "variables", "assets")


@dataclass(frozen=True)
class ModelFile:
    """A model on disk."""

    kind: str
    path: Path

    def load_model(self) -> model_runtimes.Model:
        """Load the model, in the process that will predict.

        Raises: UserError if it cannot be loaded, or its runtime is not installed.
        """
        try:
            model: model_runtimes.Model = model_runtimes.RUNTIMES[self.kind](self.path)
        except ImportError as error:
            message = (
                f"{self.path} needs a runtime that this image lacks: {error}; "
                "install it in an image FROM this one"
            )
            raise UserError(message) from error
        except UserError:
            raise
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            message = f"{self.path} cannot be loaded as {self.kind}: {reason}"
            raise UserError(message) from error
        log.info("loaded %s as %s; one input instance: %s", self.path, self.kind, model.input_shape)
        return model


def find(model_dir: Path) -> ModelFile | None:
    """Find the only model in `model_dir`, which may have been saved in several kinds.

    Of several kinds the one with the lightest runtime is chosen, of numbered SavedModels the
    newest, as TensorFlow Serving does.

    Raises: UserError if there are several models of that kind.
    """
    if (model_dir / artifact.MANIFEST_NAME).is_file():
        return ModelFile("artifact", model_dir)
    by_kind = _sort_by_kind(_walk(model_dir, _DEPTH))
    for kind in _PREFERENCE:
        paths = by_kind[kind]
        if kind == "SavedModel" and paths and all(path.name.isdigit() for path in paths):
            paths = [max(paths, key=lambda path: int(path.name))]
        if len(paths) > 1:
            names = ", ".join(map(str, paths[:5]))
            message = f"{model_dir} holds {len(paths)} models: {names}; one is expected"
            raise UserError(message)
        if paths:
            return ModelFile(kind, paths[0])
    return None


def _sort_by_kind(paths: Iterable[Path]) -> dict[str, list[Path]]:
    by_kind: dict[str, list[Path]] = {kind: [] for kind in _PREFERENCE}
    for path in paths:
        if path.name == "saved_model.pb":
            by_kind["SavedModel"].append(path.parent)
        elif path.suffix in _KIND_BY_SUFFIX and not path.name.endswith(".weights.h5"):
            by_kind[_KIND_BY_SUFFIX[path.suffix]].append(path)
    return by_kind


def _walk(directory: Path, depth: int) -> Iterator[Path]:
    if not depth or not directory.is_dir():
        return
    for entry in sorted(directory.iterdir()):
        if entry.is_file():
            yield entry
        elif entry.name not in _SKIPPED and not entry.name.startswith("."):
            yield from _walk(entry, depth - 1)
